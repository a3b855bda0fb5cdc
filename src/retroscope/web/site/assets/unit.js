// The page of a unit: which ranking and tiles are shown, and which patch is seen in its picture.
"use strict";
(() => {
  const tools = document.getElementById("tools");
  const rankings = [...document.querySelectorAll("[data-ranking]")];
  const defaults = { by: "max", show: "both" };

  const apply = () => {
    const values = Object.fromEntries(new FormData(tools));
    for (const ranking of rankings) {
      ranking.hidden = ranking.dataset.ranking !== values.by;
      const three = ranking.querySelector(".three");
      if (three) three.dataset.show = values.show;
    }
    retroscope.choices.write(values, defaults);
  };
  const restore = () => {
    const kept = retroscope.choices.read();
    for (const [name, value] of Object.entries(defaults)) {
      const wanted = tools.querySelector(`[name=${name}][value="${CSS.escape(kept.get(name) ?? value)}"]`);
      (wanted ?? tools.querySelector(`[name=${name}][value=${value}]`)).checked = true;
    }
    apply();
  };

  const choose = (ranking, number) => {
    for (const tile of ranking.querySelectorAll(".tile")) {
      tile.toggleAttribute("data-chosen", tile.dataset.hit === number);
    }
    const data = ranking.querySelector("script");
    if (data) showContext(ranking.querySelector(".context"), JSON.parse(data.textContent)[Number(number)]);
  };
  const digits = (value) => String(Number(value.toPrecision(4))).replace("-", "−");
  const showContext = (context, hit) => {
    const [top, left, bottom, right] = hit.box;
    const facts = {
      rank: hit.rank + 1,
      score: digits(hit.score),
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
    if (!hit.picture) return;
    const link = context.querySelector("a[data-fact=source]");
    link.href = retroscope.root + hit.href;
    const whole = context.querySelector(".whole");
    whole.setAttribute("aria-label", `The whole picture ${hit.source}, the field framed`);
    whole.querySelector("image").setAttribute("href", retroscope.root + hit.picture);
    for (const shape of whole.querySelectorAll("rect")) {
      for (const [name, value] of Object.entries({ x: left, y: top, width: right - left, height: bottom - top })) {
        shape.setAttribute(name, value);
      }
    }
  };
  for (const ranking of rankings) {
    const chooseTile = (event) => {
      const tile = event.target.closest(".tile");
      if (tile) choose(ranking, tile.dataset.hit);
    };
    ranking.addEventListener("pointerover", (event) => event.pointerType === "mouse" && chooseTile(event));
    ranking.addEventListener("focusin", chooseTile);
    // A first tap shows the whole picture; the link in its caption leads on.
    let tapped = false;
    ranking.addEventListener("pointerdown", (event) => (tapped = event.pointerType !== "mouse"));
    ranking.addEventListener("click", (event) => {
      const tile = event.target.closest(".tile");
      if (!tile || !tapped) return;
      event.preventDefault();
      choose(ranking, tile.dataset.hit);
      ranking.querySelector(".context").scrollIntoView({ block: "nearest" });
    });
    choose(ranking, "0");
  }
  for (let digit = 1; digit <= 9; digit++) {
    retroscope.keys[String(digit)] = () => {
      const ranking = rankings.find((each) => !each.hidden);
      const tile = ranking.querySelector(`.tile[data-hit="${digit - 1}"]`);
      if (tile) choose(ranking, tile.dataset.hit);
    };
  }
  tools.addEventListener("change", apply);
  addEventListener("hashchange", restore);
  restore();
})();
