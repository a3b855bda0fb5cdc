// The page of a unit: the ranking and tiles on show, the patch framed in its whole image, and zoom.
"use strict";
(() => {
  const form = document.getElementById("view-options");
  const rankings = [...document.querySelectorAll("[data-ranking]")];
  const show = form.querySelector("[name=show]:checked").value;
  const defaults = { by: "max", show, tone: "robust", patch: "" };
  let patch = "";

  const selectedRanking = () => rankings.find((section) => !section.hidden);
  const apply = () => {
    const values = { ...retroscope.views.read(defaults), patch };
    for (const ranking of rankings) {
      ranking.hidden = ranking.dataset.ranking !== values.by;
      const columns = ranking.querySelector(".plate-columns");
      if (columns) columns.dataset.show = values.show;
    }
    retroscope.tones.show(document.getElementById("main"), values.tone);
    retroscope.options.write(values, defaults);
  };
  const restore = () => {
    retroscope.views.restore(defaults);
    const stored = retroscope.options.read().get("patch") ?? "";
    patch = stored;
    apply();
    if (stored) retroscope.zoom.open(selectedRanking(), Number(stored) - 1);
    else retroscope.zoom.close();
  };

  const selectHit = (ranking, number) => {
    for (const tile of ranking.querySelectorAll(".tile")) {
      tile.toggleAttribute("data-selected", tile.dataset.hit === number);
    }
    const hits = ranking.querySelector("script");
    if (hits) showContext(ranking.querySelector(".context"), JSON.parse(hits.textContent)[Number(number)]);
  };
  const showContext = (context, hit) => {
    const [top, left, bottom, right] = hit.box;
    const facts = {
      rank: hit.rank + 1,
      class: hit.class ?? "",
      source: hit.source,
      unit: `${document.body.dataset.unit}@${hit.position}`,
      field: `y ${top} to ${bottom}, x ${left} to ${right}`,
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
  };
  for (const ranking of rankings) {
    const selectTile = (event) => {
      const tile = event.target.closest(".tile");
      if (tile) selectHit(ranking, tile.dataset.hit);
    };
    ranking.addEventListener("pointerover", (event) => event.pointerType === "mouse" && selectTile(event));
    ranking.addEventListener("focusin", selectTile);
    selectHit(ranking, "0");
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
    patch = number === null ? "" : String(number + 1);
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
    for (const ranking of rankings) {
      const selected = ranking.querySelector(".tile[data-selected]")?.dataset.hit ?? "0";
      const section = page.querySelector(`[data-ranking="${ranking.dataset.ranking}"]`);
      for (const image of section.querySelectorAll("image")) image.setAttribute("href", renew(image.getAttribute("href")));
      for (const figure of section.querySelectorAll("[data-gamma]")) {
        figure.dataset.robust = renew(figure.dataset.robust);
        figure.dataset.gamma = renew(figure.dataset.gamma);
      }
      ranking.innerHTML = section.innerHTML;
      selectHit(ranking, selected);
    }
    apply();
  };
  form.addEventListener("change", apply);
  addEventListener("hashchange", restore);
  restore();
})();
