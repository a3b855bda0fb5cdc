// What every page has: shortcuts, search, help, theme, copy buttons. Classic scripts, because a page
// opened from a folder (file:) cannot load modules.
"use strict";
(() => {
  const root = document.body.dataset.root;
  const byId = (id) => document.getElementById(id);
  const announce = (text) => {
    byId("status").textContent = text;
  };
  retroscope.root = root;
  // Completes a path such as unit/conv5/{channel}.html from the facts of a page.
  retroscope.fillPath = (template, values) => root + template.replace(/\{(\w+)\}/g, (_, name) => values[name]);

  // -- the options of a page, stored in the fragment: links and the back button keep them
  const readOptions = () => new URLSearchParams(location.hash.slice(1));
  retroscope.options = {
    read: readOptions,
    write(values, defaults) {
      const changed = Object.entries(values).filter(([key, value]) => value !== defaults[key]);
      const text = new URLSearchParams(changed).toString();
      if (text === readOptions().toString()) return;
      history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
    },
  };

  // -- where a unit is in an image: its field framed, the middle of a large field ringed
  const setAttributes = (element, values) => {
    for (const [name, value] of Object.entries(values)) element.setAttribute(name, value);
  };
  retroscope.markField = (svg, { box: [top, left, bottom, right], middle, size: [height, width] }) => {
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    for (const frame of svg.querySelectorAll("rect")) {
      setAttributes(frame, { x: left, y: top, width: right - left, height: bottom - top });
    }
    const place = svg.querySelector(".place");
    place.toggleAttribute("hidden", !middle);
    const [y, x] = middle ?? [0, 0];
    for (const circle of place.children) {
      setAttributes(circle, { cx: x + 0.5, cy: y + 0.5, r: Math.max(height, width) / 14 });
    }
  };

  // -- parts that need a network beside the atlas
  for (const element of document.querySelectorAll("[data-with-model]")) element.hidden = !retroscope.model;
  for (const element of document.querySelectorAll("[data-without-model]")) element.hidden = Boolean(retroscope.model);

  // -- search
  const box = byId("search");
  const list = byId("search-results");
  const emptyMessage = byId("search-empty");
  let rows = [];
  let selected = 0;

  const loadScript = (url) =>
    new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = url;
      script.onload = resolve;
      script.onerror = () => reject(new Error(`cannot load ${url}`));
      document.head.append(script);
    });
  retroscope.loadScript = loadScript;
  let indexLoading = null;
  const loadIndex = () => (indexLoading ??= loadScript(document.body.dataset.searchIndex));

  const unitRows = (text) => {
    const match = /^(.*?)[:\s]\s*(\d+)?(?:@.*)?$/.exec(text);
    if (!match) return [];
    const [, layerText, channelText] = match;
    const channel = Number(channelText ?? 0);
    return matchingLayers(layerText)
      .filter((layer) => channel < layer.channels)
      .map((layer) => ({
        title: `${layer.name}:${channel}`,
        note: layer.aliases.length ? `${layer.aliases[0]}:${channel}` : "unit",
        href: retroscope.fillPath(layer.units, { channel }),
      }));
  };
  const lowerNames = ({ name, aliases }) => [name, ...aliases].map((text) => text.toLowerCase());
  // Layers with this text in a name; those with exactly this name come first.
  const matchingLayers = (text) => {
    const lower = text.toLowerCase();
    const isExact = (layer) => Number(lowerNames(layer).includes(lower));
    return retroscope.names.layers
      .filter((layer) => lowerNames(layer).some((name) => name.includes(lower)))
      .sort((a, b) => isExact(b) - isExact(a));
  };
  const layerRows = (text) =>
    matchingLayers(text).map(({ name, aliases, channels, href }) => ({
      title: name,
      note: [...aliases, `${channels} channels`].join(", "),
      href: root + href,
    }));
  const classRows = (text) =>
    retroscope.names.classes
      .filter(({ label }) => label.toLowerCase().includes(text.toLowerCase()))
      .map(({ label, href }) => ({ title: label, note: "class", href: root + href }));

  const noResults = (text) => {
    const [, layerText] = /^(.*?)[:\s]\s*\d+/.exec(text) ?? [];
    const layer = layerText && matchingLayers(layerText)[0];
    return layer ? `${layer.name} has channels 0 to ${layer.channels - 1}` : `No results for ${text}`;
  };
  const findRows = (text) =>
    text ? [...unitRows(text), ...layerRows(text), ...classRows(text)].slice(0, 12) : [];

  const select = (index) => {
    selected = index;
    [...list.children].forEach((item, n) => item.setAttribute("aria-selected", String(n === index)));
    const item = list.children[index];
    if (item) {
      box.setAttribute("aria-activedescendant", item.id);
      item.scrollIntoView({ block: "nearest" });
    } else box.removeAttribute("aria-activedescendant");
  };
  const showResults = (results, message = "") => {
    rows = results;
    list.replaceChildren(
      ...results.map(({ title, note }, n) => {
        const item = document.createElement("li");
        item.id = `search-result-${n}`;
        item.setAttribute("role", "option");
        const name = document.createElement("b");
        const description = document.createElement("span");
        name.textContent = title;
        description.textContent = note;
        item.append(name, description);
        return item;
      }),
    );
    emptyMessage.textContent = message;
    emptyMessage.hidden = !message;
    list.hidden = results.length === 0;
    box.setAttribute("aria-expanded", String(results.length > 0));
    select(0);
  };
  const search = async () => {
    await loadIndex();
    const text = box.value.trim();
    const results = findRows(text);
    showResults(results, text && !results.length ? noResults(text) : "");
  };
  const open = (row) => {
    location.href = row.href;
  };
  box.addEventListener("input", search);
  box.addEventListener("focus", loadIndex);
  box.addEventListener("blur", () => setTimeout(() => showResults([]), 150));
  box.addEventListener("keydown", (event) => {
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in moves && rows.length) {
      event.preventDefault();
      select((selected + moves[event.key] + rows.length) % rows.length);
    } else if (event.key === "Escape") {
      showResults([]);
      box.blur();
    }
  });
  list.addEventListener("mousedown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    const item = event.target.closest("li");
    if (item) open(rows[[...list.children].indexOf(item)]);
  });
  box.form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await search();
    if (rows[selected]) open(rows[selected]);
    else announce(emptyMessage.textContent);
  });

  // -- buttons
  const copy = async (button) => {
    const text = button.dataset.copy;
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.textContent = "copied";
    announce(`Copied ${text}`);
    setTimeout(() => (button.textContent = "copy"), 1500);
  };
  const help = byId("help");
  const actions = {
    theme: () => announce(`${retroscope.toggleTheme()} mode`),
    help: () => (help.open ? help.close() : help.showModal()),
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.copy) copy(button);
    else if (button?.dataset.action) actions[button.dataset.action]();
    else if (event.target === help) help.close();
  });

  // -- keyboard shortcuts
  const followLink = (relation) => {
    const link = document.head.querySelector(`link[rel=${relation}]`);
    if (link) location.href = link.href + (relation === "up" ? "" : location.hash);
  };
  const chooseOption = (name, value) => {
    const input = document.querySelector(`#view-options input[name=${name}][value=${value}]`);
    if (input && !input.checked) input.click();
  };
  const toggleOption = (name) =>
    document.querySelector(`#view-options input[name=${name}]:not(:checked)`)?.click();
  retroscope.keys = {
    "/": () => box.focus(),
    "?": actions.help,
    t: actions.theme,
    p: () => chooseOption("show", "patches"),
    d: () => chooseOption("show", "projections"),
    l: () => chooseOption("show", "lit"),
    b: () => chooseOption("show", "both"),
    s: () => chooseOption("show", "patterns"),
    m: () => toggleOption("by"),
    u: () => followLink("up"),
    ArrowLeft: () => followLink("prev"),
    ArrowRight: () => followLink("next"),
  };
  const isTyping = (target) => target.closest("input:not([type=radio]), select, textarea, [tabindex='0']");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (isTyping(event.target) || (event.target.type === "radio" && event.key.startsWith("Arrow"))) return;
    const action = retroscope.keys[event.key];
    if (action) {
      event.preventDefault();
      action();
    }
  });
})();
