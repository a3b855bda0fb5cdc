// The page of a unit: the ranking and tiles on show, the patch framed in its whole image, and zoom.
"use strict";
(() => {
  const form = document.getElementById("view-options");
  const rankings = [...document.querySelectorAll("[data-ranking]")];
  const show = form.querySelector("[name=show]:checked").value;
  const defaults = { by: "max", show, tone: "robust", patch: "" };
  // The number of a hit, after the name of its row and a dot where it is in one.
  const PATCH = /^(?:(.+)\.)?(\d+)$/;
  let patch = "";

  const rows = [...document.querySelectorAll("[data-row]")];
  const galleries = [...rankings, ...rows];
  const selectedRanking = () => rankings.find((section) => !section.hidden);
  const apply = () => {
    const values = { ...retroscope.views.read(defaults), patch };
    for (const ranking of rankings) {
      ranking.hidden = ranking.dataset.ranking !== values.by;
      const columns = ranking.querySelector(".plate-columns");
      if (columns) columns.dataset.show = values.show;
    }
    for (const row of document.querySelectorAll(".row-views")) row.dataset.show = values.show;
    retroscope.tones.show(document.getElementById("main"), values.tone);
    retroscope.options.write(values, defaults);
  };
  const restore = () => {
    retroscope.views.restore(defaults);
    const stored = retroscope.options.read().get("patch") ?? "";
    patch = stored;
    apply();
    const [, row, number] = PATCH.exec(stored) ?? [];
    const gallery = row ? rows.find((candidate) => candidate.dataset.row === row) : selectedRanking();
    if (number && gallery) retroscope.zoom.open(gallery, Number(number) - 1);
    else retroscope.zoom.close();
  };

  const selectHit = (ranking, number) => {
    for (const tile of ranking.querySelectorAll(".tile")) {
      tile.toggleAttribute("data-selected", tile.dataset.hit === number);
    }
    const context = ranking.querySelector(".context");
    if (context) showContext(context, JSON.parse(ranking.querySelector("script").textContent)[Number(number)]);
  };
  const showContext = (context, hit) => {
    const [top, left, bottom, right] = hit.box;
    const facts = {
      rank: hit.rank + 1,
      class: hit.class ?? "",
      source: hit.source,
      unit: `${document.body.dataset.unit}@${hit.position}`,
      field: `${hit.slices ? `slices ${hit.slices.first + 1} to ${hit.slices.last + 1}, ` : ""}y ${top} to ${bottom}, x ${left} to ${right}`,
      notes: hit.notes.join("; "),
    };
    for (const [name, text] of Object.entries(facts)) {
      context.querySelector(`[data-fact=${name}]`).textContent = text;
    }
    for (const name of ["class", "notes"]) {
      context.querySelector(`[data-fact=${name}]`).parentElement.hidden = !facts[name];
    }
    if (!hit.src) return;
    const link = context.querySelector("a[data-fact=source]");
    link.href = retroscope.root + hit.href;
    const image = context.querySelector(".whole-image");
    image.setAttribute("aria-label", `Whole image ${hit.source} with the field framed`);
    const photo = image.querySelector("image");
    [photo.height.baseVal.value, photo.width.baseVal.value] = hit.size;
    photo.setAttribute("href", retroscope.root + hit.src);
    retroscope.markField(image, hit);
    retroscope.slices?.attach(context.closest("[data-gallery]"), context, hit);
  };
  for (const ranking of galleries) {
    const selectTile = (event) => {
      const tile = event.target.closest(".tile");
      if (tile) selectHit(ranking, tile.dataset.hit);
    };
    ranking.addEventListener("pointerover", (event) => event.pointerType === "mouse" && selectTile(event));
    ranking.addEventListener("focusin", selectTile);
    if (rankings.includes(ranking)) selectHit(ranking, "0");
  }
  retroscope.lightTiles(document.getElementById("main"));
  for (let digit = 1; digit <= 9; digit++) {
    retroscope.keys[String(digit)] = () => {
      const ranking = selectedRanking();
      const tile = ranking.querySelector(`.tile[data-hit="${digit - 1}"]`);
      if (tile) selectHit(ranking, tile.dataset.hit);
    };
  }
  retroscope.keys.z = () => {
    const ranking = selectedRanking();
    const tile = ranking.querySelector(".tile[data-selected]");
    if (tile) retroscope.zoom.open(ranking, Number(tile.dataset.hit));
  };
  retroscope.zoom.onChange = (ranking, number) => {
    const row = ranking.dataset.row ? `${ranking.dataset.row}.` : "";
    patch = number === null ? "" : `${row}${number + 1}`;
    if (number !== null) selectHit(ranking, String(number));
    apply();
  };
  form.addEventListener("click", (event) => {
    if (event.target.id !== "save-plate") return;
    if (location.protocol === "file:") document.getElementById("save-note").hidden = false;
    else retroscope.savePlate(selectedRanking(), retroscope.views.read(defaults));
  });
  // Shows the plates of the same page as it is now; `renew` gives the paths of images that changed.
  retroscope.renewPage = (page, renew) => {
    retroscope.views.renewOptions(page.getElementById("view-options"));
    for (const ranking of galleries) {
      const selected = ranking.querySelector(".tile[data-selected]")?.dataset.hit ?? "0";
      const section = page.querySelector(`[data-gallery="${ranking.dataset.gallery}"]`);
      for (const image of section.querySelectorAll("image")) image.setAttribute("href", renew(image.getAttribute("href")));
      for (const figure of section.querySelectorAll("[data-gamma]")) {
        figure.dataset.robust = renew(figure.dataset.robust);
        figure.dataset.gamma = renew(figure.dataset.gamma);
      }
      ranking.innerHTML = section.innerHTML;
      if (rankings.includes(ranking)) selectHit(ranking, selected);
    }
    apply();
  };
  form.addEventListener("change", apply);
  const classChoice = document.querySelector(".class-choice");
  classChoice?.addEventListener("change", () => classChoice.submit());
  addEventListener("hashchange", restore);
  restore();
})();
