// The grid of a layer: all its channels, sorted and filtered, and only those near the window drawn.
"use strict";
(async () => {
  const root = retroscope.root;
  const grid = document.getElementById("grid");
  // What the page came with is painted first.
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  await retroscope.load(grid.dataset.columns);
  const { columns, units, plates, patterns } = retroscope.layer;
  const tools = document.getElementById("tools");
  const count = document.getElementById("count");
  const fallback = { show: "patches", by: "max", size: "medium", sort: "channel", class: "", least: "0", most: "1" };
  const CHUNK = 120;
  const NEAR = "1200px";

  const number = (value) =>
    value === null ? "–" : String(Number(value.toPrecision(4))).replace("-", "−");
  const share = (value) => `${Number((100 * value).toPrecision(2))} %`;

  // -- which channels, in which order
  const descending = (values) => (one, other) => (values[other] ?? -Infinity) - (values[one] ?? -Infinity);
  const orders = {
    channel: () => () => 0,
    score: ({ by }) => descending(by === "max" ? columns.maximum : columns.mean),
    fired: () => descending(columns.fired),
    selectivity: () => descending(columns.selectivity),
    dead: () => (one, other) => columns.dead[other] - columns.dead[one] || columns.fired[one] - columns.fired[other],
  };
  const chosenRows = (values) =>
    columns.channel
      .map((_, row) => row)
      .filter(
        (row) =>
          (!values.class || columns.class[row] === values.class) &&
          columns.fired[row] >= Number(values.least) &&
          columns.fired[row] <= Number(values.most),
      )
      .sort(orders[values.sort](values));

  // -- one plate
  const words = (row, { by, sort }) => {
    if (columns.dead[row]) return "never fires";
    if (sort === "fired") return share(columns.fired[row]);
    if (sort === "selectivity") return `${columns.class[row] ?? ""} ${number(columns.selectivity[row])}`;
    return number(by === "max" ? columns.maximum[row] : columns.mean[row]);
  };
  const image = (channel, by, what) => {
    const frame = document.createElement("span");
    const made = document.createElement("img");
    made.loading = "lazy";
    made.decoding = "async";
    made.width = made.height = 160;
    made.alt = `${what === "patches" ? "Patches" : "Projections"} of channel ${channel}`;
    made.src = `${root}${plates}${channel}.${by}.${what}.webp`;
    frame.className = "picture";
    frame.append(made);
    return frame;
  };
  const nothing = (text) => {
    const made = document.createElement("span");
    made.className = "nothing";
    made.textContent = text;
    return made;
  };
  const pattern = (channel) => {
    const made = document.createElement("img");
    made.loading = "lazy";
    made.decoding = "async";
    made.width = made.height = 160;
    made.alt = `Pattern that excites channel ${channel}`;
    made.src = `${root}${patterns}${channel}.webp`;
    made.className = "single";
    return made;
  };
  const pictures = (row, { show, by }) => {
    const channel = columns.channel[row];
    if (show === "patterns") return columns.pattern[row] ? pattern(channel) : nothing("no pattern");
    const [max, mean] = columns.plates[row];
    const kinds = by === "max" ? max : mean; // 0 none, 1 patches, 2 projections too
    if (!kinds) return nothing("no hits");
    const projections = () => (kinds > 1 ? image(channel, by, "projections") : nothing("not illustrated"));
    if (show === "patches") return image(channel, by, "patches");
    if (show === "projections") return projections();
    const pair = document.createElement("span");
    pair.className = "pair";
    pair.append(image(channel, by, "patches"), projections());
    return pair;
  };
  const plate = (row, at, values) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    const said = document.createElement("span");
    const name = document.createElement("b");
    const fact = document.createElement("span");
    item.className = columns.dead[row] ? "plate dead" : "plate";
    item.dataset.channel = columns.channel[row];
    item.setAttribute("aria-posinset", at + 1);
    item.setAttribute("aria-setsize", rows.length);
    link.href = `${root}${units}${columns.channel[row]}.html${values.by === "mean" ? "#by=mean" : ""}`;
    said.className = "said";
    name.textContent = columns.channel[row];
    fact.textContent = words(row, values);
    said.append(name, fact);
    link.append(pictures(row, values), said);
    item.append(link);
    return item;
  };

  // -- chunks of plates, filled when near the window and emptied when far
  let rows = [];
  let values = fallback;
  const near = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) fill(target);
        else empty(target);
      }
    },
    { rootMargin: NEAR },
  );
  const fill = (chunk) => {
    if (chunk.childElementCount) return;
    const start = Number(chunk.dataset.start);
    const own = rows.slice(start, start + Number(chunk.dataset.count));
    chunk.append(...own.map((row, n) => plate(row, start + n, values)));
    chunk.style.minHeight = "";
  };
  const empty = (chunk) => {
    if (!chunk.childElementCount) return;
    chunk.style.minHeight = `${chunk.offsetHeight}px`;
    chunk.replaceChildren();
  };
  const shape = (list) => {
    const style = getComputedStyle(list);
    return {
      across: style.gridTemplateColumns.split(" ").length,
      gap: parseFloat(style.rowGap) || 0,
    };
  };
  const none = () => {
    const made = document.createElement("p");
    made.className = "note";
    made.textContent = "No channel is of this class and fires so often.";
    return made;
  };
  const lay = () => {
    near.disconnect();
    const probe = document.createElement("ol");
    probe.className = "plates chunk";
    grid.replaceChildren(probe);
    if (rows.length) probe.append(plate(rows[0], 0, values));
    const { across, gap } = shape(probe);
    const height = (probe.firstElementChild?.offsetHeight ?? 0) + gap;
    const each = Math.max(across, Math.floor(CHUNK / across) * across);
    const chunks = [];
    for (let start = 0; start < rows.length; start += each) {
      const chunk = document.createElement("ol");
      const own = Math.min(each, rows.length - start);
      chunk.className = "plates chunk";
      chunk.dataset.start = start;
      chunk.dataset.count = own;
      chunk.style.minHeight = `${Math.ceil(own / across) * height - gap}px`;
      chunks.push(chunk);
    }
    grid.replaceChildren(...chunks);
    if (!rows.length) grid.append(none());
    if (chunks[0]) fill(chunks[0]);
    for (const chunk of chunks) near.observe(chunk);
  };

  const apply = () => {
    values = { ...fallback, ...Object.fromEntries(new FormData(tools)) };
    rows = chosenRows(values);
    grid.dataset.show = values.show;
    grid.dataset.size = values.size;
    lay();
    const all = columns.channel.length;
    count.textContent = rows.length === all ? `${all} channels` : `${rows.length} of ${all} channels`;
    retroscope.choices.write(values, fallback);
  };
  const restore = () => {
    const kept = retroscope.choices.read();
    for (const [name, value] of Object.entries(fallback)) {
      const control = tools.elements[name];
      if (!control) continue;
      control.value = kept.get(name) ?? value;
      if (control.value === "" && value !== "") control.value = value;
    }
    apply();
  };
  let width = grid.clientWidth;
  new ResizeObserver(() => {
    if (grid.clientWidth === width) return;
    width = grid.clientWidth;
    lay();
  }).observe(grid);
  tools.addEventListener("change", apply);
  tools.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", restore);
  // What was chosen meanwhile counts; where the page as it came shows it already, nothing moves.
  const asIs = Object.entries(Object.fromEntries(new FormData(tools))).every(([name, value]) => fallback[name] === value);
  const complete = columns.channel.length === grid.querySelectorAll(".plate").length;
  if (location.hash && asIs) restore();
  else if (!asIs || !complete) apply();
  else {
    values = { ...fallback };
    rows = chosenRows(values);
    count.textContent = `${rows.length} channels`;
  }
  grid.dataset.ready = "";
})();
