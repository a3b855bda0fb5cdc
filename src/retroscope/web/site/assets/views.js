// What the pages with plates share: options kept in the address and folded on a phone, the tones,
// and patches that light up under the pointer.
"use strict";
(() => {
  const form = document.getElementById("view-options");
  const fold = document.getElementById("fold");
  const RENAMED = { both: "all" }; // values in older links

  // -- the options of a page and its address
  const choose = (name, value) => {
    const controls = [...form.elements].filter((control) => control.name === name);
    const [first] = controls;
    if (first?.type === "radio") {
      const input = controls.find((control) => control.value === value);
      if (input) input.checked = true;
      return Boolean(input);
    }
    if (first?.type === "number") {
      first.value = value;
      return true;
    }
    const isOption = [...(first?.options ?? [])].some((option) => option.value === value);
    if (isOption) first.value = value;
    return isOption;
  };
  // The options of the same page as it is now, where others have become possible.
  const renewOptions = (newForm) => {
    const chosen = new FormData(form);
    form.innerHTML = newForm.innerHTML;
    for (const [name, value] of Object.entries(newForm.dataset)) form.dataset[name] = value;
    for (const [name, value] of chosen) choose(name, value);
    if (form.querySelector("[name=tone]") && !hasFilter()) addToneFilter();
    summarize();
  };
  const summarize = () => {
    const inputs = form.querySelectorAll("[name=show]:checked, [name=by]:checked");
    const selects = [...form.querySelectorAll("select")].filter((select) => select.selectedIndex > 0);
    const texts = [...inputs].map((input) => input.labels[0].textContent.trim());
    texts.push(...selects.map((select) => select.selectedOptions[0].text));
    for (const range of form.elements) if (range.type === "number" && range.value) texts.push(`${range.ariaLabel} ${range.value}`);
    document.getElementById("fold-summary").textContent = texts.join(", ");
  };
  retroscope.views = {
    renewOptions,
    // The options of the form, and those of `defaults` that have no control.
    read(defaults) {
      summarize();
      return { ...defaults, ...Object.fromEntries(new FormData(form)) };
    },
    // Sets the controls from the address; what it does not name gets its default.
    restore(defaults) {
      const stored = retroscope.options.read();
      for (const [name, value] of Object.entries(defaults)) {
        const wanted = stored.get(name) ?? value;
        if (!choose(name, RENAMED[wanted] ?? wanted)) choose(name, value);
      }
    },
  };
  fold.addEventListener("click", () => {
    const isOpen = form.toggleAttribute("data-open");
    fold.setAttribute("aria-expanded", String(isOpen));
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  summarize();

  // -- tones: plates come as `robust` and as `gamma`; `tile` is the square of `gamma` around grey 128
  const SVG = "http://www.w3.org/2000/svg";
  const GREY = 128;
  const GREY_STEPS = 127;
  const squareTone = (level) => {
    const share = Math.min(Math.max((level - GREY) / GREY_STEPS, -1), 1);
    return Math.round(GREY + GREY_STEPS * share * Math.abs(share));
  };
  const addToneFilter = () => {
    const svg = document.createElementNS(SVG, "svg");
    const filter = document.createElementNS(SVG, "filter");
    const transfer = document.createElementNS(SVG, "feComponentTransfer");
    const table = Array.from({ length: 256 }, (_, level) => squareTone(level) / 255).join(" ");
    for (const channel of ["feFuncR", "feFuncG", "feFuncB"]) {
      const element = document.createElementNS(SVG, channel);
      element.setAttribute("type", "table");
      element.setAttribute("tableValues", table);
      transfer.append(element);
    }
    for (const [name, value] of Object.entries({ id: "tile-tone", "color-interpolation-filters": "sRGB" })) {
      filter.setAttribute(name, value);
    }
    svg.setAttribute("aria-hidden", "true");
    svg.classList.add("visually-hidden");
    filter.append(transfer);
    svg.append(filter);
    document.body.append(svg);
  };
  const hasFilter = () => Boolean(document.getElementById("tile-tone"));
  if (form.querySelector("[name=tone]")) addToneFilter();
  const hasTones = (kind) => ["projections", "contrast"].includes(kind);
  retroscope.tones = {
    squareTone,
    // The plate of a view in a tone, as the kind in its path.
    plateKind: (view, tone) => (hasTones(view) && tone !== "robust" ? `${view}-gamma` : view),
    // Shows the figures of a unit in a tone.
    show(container, tone) {
      container.dataset.tone = tone;
      for (const figure of container.querySelectorAll("[data-gamma]")) {
        const source = tone === "robust" ? figure.dataset.robust : figure.dataset.gamma;
        for (const image of figure.querySelectorAll("image")) retroscope.showImage(image, source);
      }
    },
  };

  // -- a patch under the pointer of a mouse shows what of it the unit responds to
  retroscope.lightOnHover = (root, selector, makeLit) =>
    root.addEventListener("pointerover", (event) => {
      const frame = event.pointerType === "mouse" && event.target.closest(selector);
      if (!frame || frame.querySelector(".lit-hover")) return;
      const lit = makeLit(frame);
      if (!lit) return;
      lit.classList.add("lit-hover");
      lit.setAttribute("aria-hidden", "true");
      frame.append(lit);
    });
  // The tiles of patches in galleries, by a copy of the lit patch of the same hit.
  retroscope.lightTiles = (root) =>
    retroscope.lightOnHover(root, ".patches .tile", (tile) => {
      const lit = tile.closest("[data-gallery]").querySelector(`.lit .tile[data-hit="${tile.dataset.hit}"] svg.crop`);
      return lit?.cloneNode(true);
    });
  // The place of a plate that is not there: a promise, or for good, with the reason.
  retroscope.placeholder = (text) => {
    const element = document.createElement("span");
    element.className = "placeholder";
    element.textContent = text;
    return element;
  };
  retroscope.promisedPlate = (noun) => {
    const element = retroscope.placeholder("");
    element.classList.add("promised");
    element.setAttribute("role", "img");
    element.setAttribute("aria-label", `${noun}: not made yet`);
    return element;
  };
  retroscope.plateImage = (src, alt) => {
    const image = document.createElement("img");
    Object.assign(image, { loading: "lazy", decoding: "async", width: 160, height: 160, alt });
    retroscope.showImage(image, src);
    return image;
  };
})();
