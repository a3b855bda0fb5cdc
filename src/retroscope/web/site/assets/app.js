// What every page has: shortcuts, help, theme, copy buttons. Classic scripts, because a page
// opened from a folder (file:) cannot load modules.
"use strict";
(() => {
  const root = document.body.dataset.root;
  const byId = (id) => document.getElementById(id);
  const announce = (text) => {
    byId("status").textContent = text;
  };
  retroscope.root = root;
  retroscope.announce = announce;
  // The channels whose images share a pack of an exported site with one, such as 0-63.
  const packSizes = JSON.parse(document.body.dataset.packSizes ?? "{}");
  const imagePack = ({ channel, ranked_by: ranking, kind }) => {
    const size = packSizes[`${ranking}.${kind}`] ?? packSizes.other;
    const first = channel - (channel % size);
    return `${first}-${first + size - 1}`;
  };
  // Completes a path such as unit/conv5/{channel}.html from the facts of a page.
  retroscope.fillPath = (template, values) =>
    root + template.replace(/\{(\w+)\}/g, (_, name) => (name === "pack" ? imagePack(values) : values[name]));
  // Shows an image: a file, or one of a pack, whose address has a #.
  retroscope.showImage = (element, address) => {
    const source = element instanceof SVGElement ? "href" : "src";
    element.setAttribute(address.includes("#") ? "data-packed" : source, address);
  };

  // -- the options of a page, stored in the fragment: links and the back button keep them. A query, as a
  // form without scripts sends it, stands for what the fragment leaves out.
  const queryOptions = () => Object.fromEntries(new URLSearchParams(location.search));
  const hashOptions = () => new URLSearchParams(location.hash.slice(1));
  retroscope.options = {
    read: () => new URLSearchParams({ ...queryOptions(), ...Object.fromEntries(hashOptions()) }),
    write(values, defaults) {
      const sent = { ...defaults, ...queryOptions() };
      const changed = Object.entries(values).filter(([key, value]) => value !== sent[key]);
      const text = new URLSearchParams(changed).toString();
      if (text === hashOptions().toString()) return;
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
  const current = document.querySelector(".bar nav [aria-current]");
  if (current) {
    // On a phone many links scroll sideways: the one of this page is in view.
    const [link, links] = [current, current.parentElement].map((element) => element.getBoundingClientRect());
    current.parentElement.scrollLeft += Math.max(link.right - links.right, 0);
  }

  retroscope.loadScript = (url) =>
    new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = url;
      script.onload = resolve;
      script.onerror = () => reject(new Error(`cannot load ${url}`));
      document.head.append(script);
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
    button.dataset.label ??= button.textContent;
    button.textContent = "copied";
    announce(`Copied ${text}`);
    setTimeout(() => (button.textContent = button.dataset.label), 1500);
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
  const nextOption = (name) => {
    const inputs = [...document.querySelectorAll(`#view-options input[name=${name}]`)];
    const checked = inputs.findIndex((input) => input.checked);
    inputs[(checked + 1) % inputs.length]?.click();
  };
  const toggleOption = (name) =>
    document.querySelector(`#view-options input[name=${name}]:not(:checked)`)?.click();
  retroscope.keys = {
    "/": () => byId("search").focus(),
    "?": actions.help,
    t: actions.theme,
    p: () => chooseOption("show", "patches"),
    d: () => chooseOption("show", "projections"),
    l: () => chooseOption("show", "lit"),
    c: () => chooseOption("show", "contrast"),
    a: () => chooseOption("show", "all"),
    s: () => chooseOption("show", "patterns"),
    b: () => nextOption("show"),
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
