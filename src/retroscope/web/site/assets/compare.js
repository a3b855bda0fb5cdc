// The pages of a comparison: what is shown of each unit, and one patch large.
"use strict";
(() => {
  const form = document.getElementById("view-options");
  const unitSides = document.querySelector(".side-by-side");
  const galleries = [...document.querySelectorAll("[data-gallery]")];
  const show = form.querySelector("[name=show]:checked").value;
  const defaults = { show, tone: "robust", atlas: "1", patch: "" };
  const hit = { atlas: "1", patch: "" };

  // -- lists of units: each side gets the images of a view
  const ALT = { patches: "Patches", projections: "Projections", lit: "Lit patches", contrast: "Contrasts" };
  const { placeholder, promisedPlate } = retroscope;
  const plateValues = (side, kind) => ({ channel: Number(side.dataset.channel), ranked_by: "max", kind });
  const plateImage = (side, view, tone) => {
    const frame = document.createElement("span");
    const kind = retroscope.tones.plateKind(view, tone);
    const path = retroscope.fillPath(side.dataset.plate, plateValues(side, kind));
    const image = retroscope.plateImage(path, ALT[view]);
    frame.className = `thumbnail ${view}`;
    image.classList.toggle("pixels", Boolean(side.closest(".pixelated")));
    frame.append(image);
    return frame;
  };
  const patternImage = (side) => {
    const image = retroscope.plateImage(retroscope.root + side.dataset.pattern, "Synthetic pattern");
    image.className = "pattern-image";
    return image;
  };
  const isChoice = (view) => form.querySelector(`[name=show][value=${view}]`);
  const sideImages = (side, { show, tone }) => {
    const stored = side.dataset.views.split(" ").filter(Boolean);
    if (show === "patterns") return [side.dataset.pattern ? patternImage(side) : placeholder("no pattern")];
    if (!stored.length) return [placeholder("no hits")];
    const views = show === "all" ? Object.keys(ALT).filter(isChoice) : [show];
    return views.map((view) => (stored.includes(view) ? plateImage(side, view, tone) : promisedPlate(ALT[view])));
  };
  let shown = "patches robust"; // as the page was sent
  const litPlate = (frame) => {
    const side = frame.closest(".side");
    if (!shown.startsWith("patches") || !side.dataset.views.includes("lit")) return null;
    return retroscope.plateImage(retroscope.fillPath(side.dataset.plate, plateValues(side, "lit")), "");
  };
  const fillSides = (values) => {
    const wanted = `${values.show} ${values.tone}`;
    if (wanted === shown) return;
    shown = wanted;
    for (const side of document.querySelectorAll(".side")) {
      side.querySelector(".images").replaceChildren(...sideImages(side, values));
    }
  };

  const apply = () => {
    const values = { ...retroscope.views.read(defaults), ...hit };
    const container = unitSides ?? document.getElementById("main");
    if (unitSides) unitSides.dataset.show = values.show;
    else fillSides(values);
    retroscope.tones.show(container, values.tone);
    retroscope.options.write(values, defaults);
  };
  const restore = () => {
    const stored = retroscope.options.read();
    retroscope.views.restore(defaults);
    hit.atlas = stored.get("atlas") ?? "1";
    hit.patch = stored.get("patch") ?? "";
    apply();
    if (!unitSides) return;
    const gallery = galleries.find((section) => section.dataset.gallery === hit.atlas);
    if (hit.patch && gallery) retroscope.zoom.open(gallery, Number(hit.patch) - 1);
    else retroscope.zoom.close();
  };
  if (unitSides) {
    retroscope.zoom.onChange = (gallery, number) => {
      hit.atlas = number === null ? "1" : gallery.dataset.gallery;
      hit.patch = number === null ? "" : String(number + 1);
      apply();
    };
    retroscope.lightTiles(unitSides);
  } else retroscope.lightOnHover(document.getElementById("main"), ".images .thumbnail", litPlate);
  const filter = document.getElementById("layer-filter");
  filter?.addEventListener("change", () => (location.href = filter.value + location.hash));
  form.addEventListener("change", (event) => event.target !== filter && apply());
  addEventListener("hashchange", restore);
  restore();
})();
