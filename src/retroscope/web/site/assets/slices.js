// Volumes and clips: a slider shows any slice of a hit, in its tiles, its whole image and its zoom.
// A file has all slices of a volume, one above the other; a plate of projections, those that its
// units see. So a slice is a place in an image that is there already.
"use strict";
(() => {
  // The slice on show of each hit of a gallery, where it is not the strongest.
  const chosen = new WeakMap();
  // Where each hit is on show besides its tiles: its whole image, with the slider.
  const panels = new Map();
  const sliceOf = (gallery, hit) => chosen.get(gallery)?.get(hit.rank) ?? hit.slices.shown;

  const describe = ({ shown, first, last, count }, z) => {
    const words = `slice ${z + 1} of ${count}`;
    if (z === shown) return `${words}, the strongest`;
    return first <= z && z <= last ? words : `${words}, not in the field`;
  };
  const setAttributes = (element, values) => {
    for (const [name, value] of Object.entries(values)) element.setAttribute(name, value);
  };
  // Moves the sheet of a volume behind its window.
  const placeSheet = (image, { slices, size: [height, width] }, z) => {
    const x = -Math.floor(z / slices.rows) * width;
    const [sheetHeight, sheetWidth] = slices.sheet;
    setAttributes(image, { x, y: -(z % slices.rows) * height, width: sheetWidth, height: sheetHeight });
  };
  // Moves the plates of all slices behind the window of a tile.
  const placePlates = (image, { slices: { first, last, plates } }, z) => {
    const side = image.height.baseVal.value / plates;
    image.setAttribute("y", -(z - first) * side);
    image.toggleAttribute("data-unseen", z < first || z > last);
  };
  const showTile = (crop, isPatch, hit, z) => {
    const image = crop?.querySelector("image");
    if (!image) return;
    if (isPatch) placeSheet(image, hit, z);
    else placePlates(image, hit, z);
  };
  const showTiles = (container, figureSelector, hit, z) => {
    for (const figure of container.querySelectorAll(figureSelector)) {
      const tile = figureSelector === ".nine" ? figure.querySelector(`.tile[data-hit="${hit.rank}"]`) : figure;
      if (!tile) continue;
      tile.querySelector(".lit-hover")?.remove(); // it shows another slice
      showTile(tile.querySelector(".crop"), figure.classList.contains("patches"), hit, z);
    }
  };
  const showPanel = (panel, hit, z) => {
    const svg = panel.querySelector(".whole-image");
    if (svg) {
      const [height, width] = hit.size;
      setAttributes(svg.querySelector("svg.slice"), { width, height, viewBox: `0 0 ${width} ${height}` });
      placeSheet(svg.querySelector("image"), hit, z);
      svg.toggleAttribute("data-unseen", z < hit.slices.first || z > hit.slices.last);
    }
    showTiles(panel, ".zoomed", hit, z);
    const control = panel.querySelector(".slice-control");
    if (!control) return;
    const slider = control.querySelector("input");
    slider.max = hit.slices.count;
    slider.value = z + 1;
    const words = describe(hit.slices, z);
    slider.setAttribute("aria-valuetext", words);
    control.querySelector("output").textContent = words;
  };
  const show = (gallery, hit, z) => {
    const bounded = Math.min(Math.max(z, 0), hit.slices.count - 1);
    if (!chosen.has(gallery)) chosen.set(gallery, new Map());
    chosen.get(gallery).set(hit.rank, bounded);
    showTiles(gallery, ".nine", hit, bounded);
    for (const [panel, state] of panels) {
      if (!panel.isConnected) panels.delete(panel);
      else if (state.gallery === gallery && state.hit.rank === hit.rank) showPanel(panel, hit, bounded);
    }
  };
  document.addEventListener("input", (event) => {
    const panel = event.target.closest(".slice-control") && [...panels.keys()].find((candidate) => candidate.contains(event.target));
    if (!panel) return;
    const { gallery, hit } = panels.get(panel);
    show(gallery, hit, Number(event.target.value) - 1);
  });
  const STEPS = { "[": -1, "]": 1 };
  retroscope.slices = {
    makeControl: () => document.getElementById("slice-control").content.firstElementChild.cloneNode(true),
    // Shows a hit in a panel, which has its whole image and a slider, in the slice that is on show.
    attach(gallery, panel, hit) {
      panels.set(panel, { gallery, hit });
      showPanel(panel, hit, sliceOf(gallery, hit));
    },
    show,
    sliceOf,
    // Whether a key has changed the slice of a hit.
    onKey(event, gallery, hit) {
      if (!hit?.slices || !(event.key in STEPS)) return false;
      show(gallery, hit, sliceOf(gallery, hit) + STEPS[event.key]);
      return true;
    },
  };
  for (const [key, step] of Object.entries(STEPS)) {
    retroscope.keys[key] = () => {
      const state = [...panels].find(([panel]) => panel.isConnected && panel.getClientRects().length)?.[1];
      if (state) show(state.gallery, state.hit, sliceOf(state.gallery, state.hit) + step);
    };
  }
})();
