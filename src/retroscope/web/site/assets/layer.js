// The grid of a layer: all channels, sorted and filtered; only those near the window are in the page.
"use strict";
(async () => {
  const grid = document.getElementById("grid");
  // Let the browser paint the page as it was sent.
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  await retroscope.loadScript(grid.dataset.columns);
  let { columns } = retroscope.layer;
  const { units, plates, patterns, numbers, names } = retroscope.layer;
  const form = document.getElementById("view-options");
  const showCount = (text) => (document.getElementById("count").textContent = text);
  const defaults = {
    show: "patches", by: "max", size: "medium", tone: "robust", sort: "channel", class: "", "min-fired": "0", "max-fired": "1",
  };
  const LETTERS = { patches: "p", projections: "d", lit: "l", contrast: "c" };
  const NOUNS = { patches: "Patches", projections: "Projections", lit: "Lit patches", contrast: "Contrasts" };
  const CHUNK = 120;
  const PRELOAD_MARGIN = "1200px";

  const formatNumber = (value) =>
    value === null ? "–" : String(Number(value.toPrecision(4))).replace("-", "−");
  const formatPercent = (value) => `${Number((100 * value).toPrecision(2))} %`;

  // -- which channels, in which order
  const descending = (values) => (a, b) => (values[b] ?? -Infinity) - (values[a] ?? -Infinity);
  const orders = {
    channel: () => () => 0,
    score: ({ by }) => descending(by === "max" ? columns.maximum : columns.mean),
    fired: () => descending(columns.fired_image_share),
    selectivity: () => descending(columns.selectivity),
    dead: () => (a, b) =>
      columns.dead[b] - columns.dead[a] || columns.fired_image_share[a] - columns.fired_image_share[b],
  };
  const order = (values) => (values.sort in numbers ? descending(numbers[values.sort]) : orders[values.sort](values));
  const selectRows = (values) =>
    columns.channel
      .map((_, row) => row)
      .filter(
        (row) =>
          (!values.class || columns.class[row] === values.class) &&
          columns.fired_image_share[row] >= Number(values["min-fired"]) &&
          columns.fired_image_share[row] <= Number(values["max-fired"]),
      )
      .sort(order(values));

  // -- one plate
  const captionText = (row, { by, sort }) => {
    if (columns.dead[row]) return "never fires";
    if (sort in numbers) return formatNumber(numbers[sort][row]);
    if (sort === "fired") return formatPercent(columns.fired_image_share[row]);
    if (sort === "selectivity") return `${columns.class[row] ?? ""} ${formatNumber(columns.selectivity[row])}`;
    return formatNumber(by === "max" ? columns.maximum[row] : columns.mean[row]);
  };
  const plateImage = (channel, view, { by, tone }) => {
    const frame = document.createElement("span");
    const kind = retroscope.tones.plateKind(view, tone);
    const path = renewed(retroscope.fillPath(plates, { channel, ranked_by: by, kind }));
    frame.className = `thumbnail ${view}`;
    frame.append(retroscope.plateImage(path, `${NOUNS[view]} of channel ${channel}`));
    return frame;
  };
  const { placeholder, promisedPlate } = retroscope;
  const patternImage = (channel) => {
    const src = retroscope.fillPath(patterns, { channel });
    const image = retroscope.plateImage(src, `Pattern that excites channel ${channel}`);
    image.className = "pattern-image";
    return image;
  };
  const views = () => form.dataset.views.split(" ").filter((view) => view in LETTERS);
  const storedViews = (row, by) => columns.plates[row][by === "max" ? 0 : 1];
  const plateImages = (row, values) => {
    const channel = columns.channel[row];
    const { show, by } = values;
    if (show === "patterns") return columns.pattern[row] ? patternImage(channel) : placeholder("no pattern");
    const stored = storedViews(row, by);
    if (!stored) return placeholder("no hits");
    const image = (view) =>
      stored.includes(LETTERS[view]) ? plateImage(channel, view, values) : promisedPlate(`${NOUNS[view]} of channel ${channel}`);
    if (show !== "all") return image(show);
    const all = document.createElement("span");
    all.className = "pair";
    all.append(...views().map(image));
    return all;
  };
  const litPlate = (frame) => {
    const channel = Number(frame.closest("[data-channel]").dataset.channel);
    const row = columns.channel.indexOf(channel);
    if (values.show !== "patches" || !storedViews(row, values.by).includes("l")) return null;
    return retroscope.plateImage(renewed(retroscope.fillPath(plates, { channel, ranked_by: values.by, kind: "lit" })), "");
  };
  const plate = (row, index, values) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    const caption = document.createElement("span");
    const name = document.createElement("b");
    const fact = document.createElement("span");
    item.className = columns.dead[row] ? "plate dead" : "plate";
    item.dataset.channel = columns.channel[row];
    item.setAttribute("aria-posinset", index + 1);
    item.setAttribute("aria-setsize", rows.length);
    link.href = retroscope.fillPath(units, { channel: columns.channel[row] }) + (values.by === "mean" ? "#by=mean" : "");
    caption.className = "caption";
    name.textContent = columns.channel[row];
    fact.textContent = captionText(row, values);
    const unitName = document.createElement("span");
    unitName.className = "unit-name";
    unitName.textContent = names[columns.channel[row]] ?? "";
    caption.append(name, ...(unitName.textContent ? [unitName] : []), fact);
    link.append(plateImages(row, values), caption);
    item.append(link);
    return item;
  };

  // -- chunks of plates, filled near the window and emptied far from it
  let rows = [];
  let values = defaults;
  let renewed = (path) => path;
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) fill(target);
        else empty(target);
      }
    },
    { rootMargin: PRELOAD_MARGIN },
  );
  const fill = (chunk) => {
    if (chunk.childElementCount) return;
    const start = Number(chunk.dataset.start);
    const chunkRows = rows.slice(start, start + Number(chunk.dataset.count));
    chunk.append(...chunkRows.map((row, n) => plate(row, start + n, values)));
    chunk.style.minHeight = "";
  };
  const empty = (chunk) => {
    if (!chunk.childElementCount) return;
    chunk.style.minHeight = `${chunk.offsetHeight}px`;
    chunk.replaceChildren();
  };
  const gridShape = (list) => {
    const style = getComputedStyle(list);
    return {
      columnCount: style.gridTemplateColumns.split(" ").length,
      gap: parseFloat(style.rowGap) || 0,
    };
  };
  const noMatchNote = () => {
    const note = document.createElement("p");
    note.className = "note";
    note.textContent = "No channels match these filters.";
    return note;
  };
  const layOut = () => {
    observer.disconnect();
    const probe = document.createElement("ol");
    probe.className = "plates chunk";
    grid.replaceChildren(probe);
    if (rows.length) probe.append(plate(rows[0], 0, values));
    const { columnCount, gap } = gridShape(probe);
    const height = (probe.firstElementChild?.offsetHeight ?? 0) + gap;
    const chunkSize = Math.max(columnCount, Math.floor(CHUNK / columnCount) * columnCount);
    const chunks = [];
    for (let start = 0; start < rows.length; start += chunkSize) {
      const chunk = document.createElement("ol");
      const count = Math.min(chunkSize, rows.length - start);
      chunk.className = "plates chunk";
      chunk.dataset.start = start;
      chunk.dataset.count = count;
      chunk.style.minHeight = `${Math.ceil(count / columnCount) * height - gap}px`;
      chunks.push(chunk);
    }
    grid.replaceChildren(...chunks);
    if (!rows.length) grid.append(noMatchNote());
    if (chunks[0]) fill(chunks[0]);
    for (const chunk of chunks) observer.observe(chunk);
  };

  const apply = () => {
    values = retroscope.views.read(defaults);
    rows = selectRows(values);
    grid.dataset.tone = values.tone;
    grid.dataset.show = values.show;
    grid.dataset.size = values.size;
    layOut();
    const total = columns.channel.length;
    showCount(rows.length === total ? `${total} channels` : `${rows.length} of ${total} channels`);
    retroscope.options.write(values, defaults);
  };
  const restore = () => {
    retroscope.views.restore(defaults);
    apply();
  };
  // Shows the plates of the same page as it is now; `renew` gives the paths of files that changed.
  retroscope.renewPage = async (page, renew) => {
    retroscope.views.renewOptions(page.getElementById("view-options"));
    await retroscope.loadScript(renew(grid.dataset.columns));
    ({ columns } = retroscope.layer);
    renewed = renew;
    const projections = form.querySelector("[name=show][value=projections]");
    if (values.show === "patches" && projections) projections.checked = true;
    apply();
  };
  let width = grid.clientWidth;
  new ResizeObserver(() => {
    if (grid.clientWidth === width) return;
    width = grid.clientWidth;
    layOut();
  }).observe(grid);
  form.addEventListener("change", apply);
  retroscope.lightOnHover(grid, ".thumbnail", litPlate);
  addEventListener("hashchange", restore);
  // Options chosen while the script loaded count; a page that already shows them stays as it is.
  const isDefault = Object.entries(Object.fromEntries(new FormData(form))).every(([name, value]) => defaults[name] === value);
  const complete = columns.channel.length === grid.querySelectorAll(".plate").length;
  if (location.hash && isDefault) restore();
  else if (!isDefault || !complete) apply();
  else {
    values = { ...defaults };
    rows = selectRows(values);
    showCount(`${rows.length} channels`);
  }
  grid.dataset.ready = "";
})();
