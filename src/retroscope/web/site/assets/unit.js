// The page of a unit: the ranking and tiles on show, and the patch framed in its whole image.
"use strict";
(() => {
  const form = document.getElementById("view-options");
  const rankings = [...document.querySelectorAll("[data-ranking]")];
  const defaults = { by: "max", show: "both" };

  const apply = () => {
    const values = Object.fromEntries(new FormData(form));
    for (const ranking of rankings) {
      ranking.hidden = ranking.dataset.ranking !== values.by;
      const columns = ranking.querySelector(".plate-columns");
      if (columns) columns.dataset.show = values.show;
    }
    retroscope.options.write(values, defaults);
  };
  const restore = () => {
    const stored = retroscope.options.read();
    for (const [name, value] of Object.entries(defaults)) {
      const input = form.querySelector(`[name=${name}][value="${CSS.escape(stored.get(name) ?? value)}"]`);
      (input ?? form.querySelector(`[name=${name}][value=${value}]`)).checked = true;
    }
    apply();
  };

  const selectHit = (ranking, number) => {
    for (const tile of ranking.querySelectorAll(".tile")) {
      tile.toggleAttribute("data-selected", tile.dataset.hit === number);
    }
    const hits = ranking.querySelector("script");
    if (hits) showContext(ranking.querySelector(".context"), JSON.parse(hits.textContent)[Number(number)]);
  };
  const formatNumber = (value) => String(Number(value.toPrecision(4))).replace("-", "−");
  const showContext = (context, hit) => {
    const [top, left, bottom, right] = hit.box;
    const facts = {
      rank: hit.rank + 1,
      score: formatNumber(hit.score),
      class: hit.class ?? "",
      source: hit.source,
      unit: `${document.body.dataset.unit}@${hit.position}`,
      field: `y ${top} to ${bottom}, x ${left} to ${right}`,
      notes: hit.notes.join("; "),
    };
    for (const [name, text] of Object.entries(facts)) {
      context.querySelector(`[data-fact=${name}]`).textContent = text;
    }
    context.querySelector("[data-fact=notes]").parentElement.hidden = !facts.notes;
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
    // A tap shows the whole image; the link in its caption opens its page.
    let isTouch = false;
    ranking.addEventListener("pointerdown", (event) => (isTouch = event.pointerType !== "mouse"));
    ranking.addEventListener("click", (event) => {
      const tile = event.target.closest(".tile");
      if (!tile || !isTouch) return;
      event.preventDefault();
      selectHit(ranking, tile.dataset.hit);
      ranking.querySelector(".context").scrollIntoView({ block: "nearest" });
    });
    selectHit(ranking, "0");
  }
  for (let digit = 1; digit <= 9; digit++) {
    retroscope.keys[String(digit)] = () => {
      const ranking = rankings.find((section) => !section.hidden);
      const tile = ranking.querySelector(`.tile[data-hit="${digit - 1}"]`);
      if (tile) selectHit(ranking, tile.dataset.hit);
    };
  }
  form.addEventListener("change", apply);
  addEventListener("hashchange", restore);
  restore();
})();
