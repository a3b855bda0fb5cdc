// The grid of a layer: all channels, sorted and filtered; only those near the window are in the page.
"use strict";
(async () => {
  const grid = document.getElementById("grid");
  const form = document.getElementById("view-options");
  // The plates of a class come with a page of their own, from a server.
  const classChoice = () => form.querySelector("[data-page-class]");
  const excludeClass = () => classChoice()?.removeAttribute("name");
  const openClass = ({ value }) => location.assign((value ? `?${new URLSearchParams({ class: value })}` : location.pathname) + location.hash);
  excludeClass();
  const sent = new URLSearchParams(new FormData(form)).toString();
  // Let the browser paint the page as it was sent.
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  await retroscope.loadScript(grid.dataset.columns);
  let { columns } = retroscope.layer;
  const { units, plates, patterns, scores, names } = retroscope.layer;
  const showCount = (text) => (document.getElementById("count").textContent = text);
  const offers = document.querySelectorAll(".of-ranking");
  const ranges = [...form.elements].filter((control) => control.type === "number");
  const defaults = {
    show: "patches", by: "max", size: "medium", tone: "robust", sort: "channel", "top-class": "",
    ...Object.fromEntries(ranges.map((range) => [range.name, ""])),
  };
  const LETTERS = { patches: "p", projections: "d", lit: "l", contrast: "c" };
  const NOUNS = { patches: "Patches", projections: "Projections", lit: "Lit patches", contrast: "Contrasts" };
  const CHUNK = 120;
  const WIDE = matchMedia("(min-width: 44rem)"); // on a phone the plates come first
  const PRELOAD_MARGIN = "1200px";

  const formatNumber = (value) =>
    value === null ? "–" : String(Number(value.toPrecision(4))).replace("-", "−");
  const formatPercent = (value) => `${Number((100 * value).toPrecision(2))} %`;

  // -- which channels, in which order; what is compared has four digits, as it is shown
  const valuesOf = (name, { by }) => (name === "score" ? scores[by] : retroscope.layer.values[name]);
  const descending = (values) => (a, b) => (values[b] ?? -Infinity) - (values[a] ?? -Infinity);
  const orders = {
    channel: () => 0,
    dead: (a, b) => columns.dead[b] - columns.dead[a] || columns.fired_image_share[a] - columns.fired_image_share[b],
  };
  const ascending = (values) => (a, b) => (values[a] ?? Infinity) - (values[b] ?? Infinity);
  const order = (values) => {
    if (orders[values.sort]) return orders[values.sort];
    const direction = values.sort === "score" && values.by === "min" ? ascending : descending;
    return direction(valuesOf(values.sort, values));
  };
  const isInRange = {
    min: (value, bound) => value >= bound,
    max: (value, bound) => value <= bound,
  };
  const conditions = (values) =>
    ranges
      .filter(({ name }) => values[name])
      .map(({ name }) => {
        const [, end, column] = /^(min|max)-(.*)$/.exec(name);
        return { column: valuesOf(column, values), matches: isInRange[end], bound: Number(values[name]) };
      });
  const selectRows = (values) => {
    const asked = conditions(values);
    return columns.channel
      .map((_, row) => row)
      .filter((row) => !values["top-class"] || columns.class[row] === values["top-class"])
      .filter((row) => asked.every(({ column, matches, bound }) => column[row] !== null && matches(column[row], bound)))
      .sort(order(values));
  };

  // -- one plate
  const captionText = (row, values) => {
    if (columns.dead[row]) return "never fires";
    const name = values.sort in orders ? "score" : values.sort;
    const value = valuesOf(name, values)[row];
    if (value !== null && ["fired", "positions"].includes(name)) return formatPercent(value);
    return name === "selectivity" ? `${columns.class[row] ?? ""} ${formatNumber(value)}` : formatNumber(value);
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
  const storedViews = (row, by) => columns.plates[row][Object.keys(scores).indexOf(by)];
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
    link.href = retroscope.fillPath(units, { channel: columns.channel[row] }) + (values.by === "max" ? "" : `#by=${values.by}`);
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
    if (!classChoice()?.value) grid.dataset.rows = values.by === "sample" ? 2 : 3;
    for (const offer of offers) offer.hidden = !offer.dataset.by.split(" ").includes(values.by);
    layOut();
    const total = columns.channel.length;
    showCount(rows.length === total ? `${total} channels` : `${rows.length} of ${total} channels`);
    retroscope.options.write(values, defaults);
  };
  const restore = () => {
    retroscope.views.restore(defaults);
    if (ranges.some((range) => range.value) && WIDE.matches) document.getElementById("distributions").open = true;
    apply();
  };
  // Shows the plates of the same page as it is now; `renew` gives the paths of files that changed.
  retroscope.renewPage = async (page, renew) => {
    retroscope.views.renewOptions(page.getElementById("view-options"));
    excludeClass();
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
  form.addEventListener("change", ({ target }) => (target === classChoice() ? openClass(target) : apply()));
  document.getElementById("distributions").addEventListener("change", apply);
  retroscope.lightOnHover(grid, ".thumbnail", litPlate);
  addEventListener("hashchange", restore);
  // Options chosen while the script loaded count; a page that already shows them stays as it is.
  const isChosen = new URLSearchParams(new FormData(form)).toString() !== sent;
  const complete = columns.channel.length === grid.querySelectorAll(".plate").length;
  if (!isChosen && (location.hash || location.search)) restore();
  else if (isChosen || !complete) apply();
  else {
    values = { ...defaults };
    rows = selectRows(values);
    showCount(`${rows.length} channels`);
  }
  grid.dataset.ready = "";
})();
