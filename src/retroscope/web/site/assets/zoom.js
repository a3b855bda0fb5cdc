// One hit of a unit, large: its patch, projection and lit patch side by side, and its whole image.
// A click on a tile opens it, as does a link to one patch; arrows and swipes lead to the next.
"use strict";
(() => {
  const SWIPE = 40;
  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const button = (text, label, action) => {
    const made = element("button", { type: "button", textContent: text, onclick: action });
    made.setAttribute("aria-label", label);
    return made;
  };
  const formatNumber = (value) => String(Number(value.toPrecision(4))).replace("-", "−");

  const title = element("h2", { id: "zoom-title" });
  const views = element("div", { className: "zoom-views" });
  const context = element("div", { className: "zoom-context" });
  const copy = element("button", { type: "button", textContent: "copy link", className: "copy" });
  const previous = button("←", "Previous hit", () => step(-1));
  const next = button("→", "Next hit", () => step(1));
  const close = button("✕", "Close", () => dialog.close());
  const dialog = element(
    "dialog",
    { className: "zoom" },
    element("div", { className: "zoom-header" }, title, copy, previous, next, close),
    element("div", { className: "zoom-body" }, views, context),
  );
  dialog.setAttribute("aria-labelledby", "zoom-title");
  close.autofocus = true;
  document.body.append(dialog);

  let gallery = null;
  let hits = [];
  let current = 0;

  const viewFigures = (number) =>
    [...gallery.querySelectorAll(".nine")].flatMap((figure) => {
      const tile = figure.querySelector(`.tile[data-hit="${number}"]`);
      if (!tile) return [];
      const caption = element("figcaption", { textContent: figure.dataset.noun });
      const crop = tile.querySelector(".crop").cloneNode(true);
      return [element("figure", { className: figure.className.replace("nine", "zoomed") }, caption, crop)];
    });
  const wholeImage = (hit, folder) => {
    const svg = document.getElementById("whole-image").content.firstElementChild.cloneNode(true);
    const photo = svg.querySelector("image");
    svg.setAttribute("aria-label", `Whole image ${hit.source} with the field framed`);
    [photo.height.baseVal.value, photo.width.baseVal.value] = hit.size;
    photo.setAttribute("href", retroscope.root + folder + hit.src);
    retroscope.markField(svg, hit);
    return element("div", { className: "framed" }, svg);
  };
  const facts = (hit, folder) => {
    const source = hit.href
      ? element("a", { href: retroscope.root + folder + hit.href, textContent: hit.source })
      : hit.source;
    const rows = {
      score: formatNumber(hit.score),
      class: hit.class,
      image: source,
      unit: element("code", { textContent: `${document.body.dataset.unit}@${hit.position}` }),
      note: hit.notes.join("; "),
    };
    return element(
      "dl",
      { className: "facts tight" },
      ...Object.entries(rows)
        .filter(([, value]) => value)
        .map(([name, value]) =>
          element("div", {}, element("dt", { textContent: name }), element("dd", {}, value)),
        ),
    );
  };
  const show = (number) => {
    current = number;
    const hit = hits[number];
    const folder = gallery.dataset.folder ?? "";
    const place = gallery.dataset.folder === undefined ? "" : `, ${gallery.getAttribute("aria-label")}`;
    title.textContent = `Hit ${number + 1} of ${hits.length}${place}`;
    views.replaceChildren(...viewFigures(number));
    const control = hit.slices && hit.src ? [retroscope.slices.makeControl()] : [];
    const picture = hit.src ? [element("div", {}, wholeImage(hit, folder), ...control)] : [];
    context.replaceChildren(...picture, facts(hit, folder));
    if (control.length) retroscope.slices.attach(gallery, views.parentElement, hit);
    previous.disabled = number === 0;
    next.disabled = number === hits.length - 1;
    retroscope.zoom.onChange(gallery, number);
    copy.dataset.copy = location.href;
  };
  const step = (by) => {
    if (hits[current + by]) show(current + by);
  };

  dialog.addEventListener("close", () => retroscope.zoom.onChange(gallery, null));
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "t") return; // the theme, as on the page below
    event.stopPropagation();
    if (event.target.type === "range") return; // its own keys
    if (retroscope.slices?.onKey(event, gallery, hits[current])) return;
    const moves = { ArrowLeft: -1, ArrowRight: 1 };
    if (event.key in moves) step(moves[event.key]);
    else if (event.key === "z") dialog.close();
    else if (/^[1-9]$/.test(event.key) && hits[Number(event.key) - 1]) show(Number(event.key) - 1);
  });
  let start = null;
  const body = views.parentElement;
  body.addEventListener("touchstart", ({ touches: [touch] }) => (start = touch), { passive: true });
  body.addEventListener("touchend", ({ changedTouches: [touch], target }) => {
    if (target.type === "range") return; // a slider is dragged
    const across = touch.clientX - (start?.clientX ?? touch.clientX);
    const down = touch.clientY - (start?.clientY ?? touch.clientY);
    if (Math.abs(across) > SWIPE && Math.abs(across) > 2 * Math.abs(down)) step(across < 0 ? 1 : -1);
  });

  retroscope.zoom = {
    // Called with the gallery and the number of the hit on show, null after it was closed.
    onChange: () => {},
    open(newGallery, number) {
      const list = newGallery.querySelector("script[type='application/json']");
      const newHits = list ? JSON.parse(list.textContent) : [];
      if (!newHits[number]) return;
      gallery = newGallery;
      hits = newHits;
      show(number);
      if (!dialog.open) dialog.showModal();
    },
    close: () => dialog.open && dialog.close(),
  };
  document.addEventListener("click", (event) => {
    const tile = event.target.closest("[data-gallery] .tile");
    if (!tile || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    retroscope.zoom.open(tile.closest("[data-gallery]"), Number(tile.dataset.hit));
  });
})();
