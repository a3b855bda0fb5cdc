// Stars and notes: the control on the page of a unit, the stars on plates, and what search finds.
"use strict";
(() => {
  if (!retroscope.notes) return; // the file cannot be read any more; the page of all notes says why
  const { units, target, max_text: maxText } = retroscope.notes;

  // -- what search finds: words of a note, of an address, or `starred`
  retroscope.noteRows = (words) =>
    Object.entries(units)
      .filter(([unit, [star, text]]) => {
        const all = `${unit} ${text} ${star ? "starred ★" : ""}`.toLowerCase();
        return words.every((word) => all.includes(word));
      })
      .map(([unit, [star, text, href]]) => ({
        title: `${star ? "★ " : ""}${unit}`,
        note: text || "starred",
        href: retroscope.root + href,
      }));

  // -- stars on links to units
  const starred = new Set();
  const addressOf = ({ pathname, search }) => pathname + search;
  const readStars = () => {
    starred.clear();
    for (const [star, , href] of Object.values(units)) {
      if (star) starred.add(addressOf(new URL(retroscope.root + href, location.href)));
    }
  };
  const markPlates = (element) => {
    for (const link of element.querySelectorAll(".plate a[href], .strip a[href]")) {
      link.classList.toggle("starred", starred.has(addressOf(link)));
    }
  };
  readStars();
  const main = document.getElementById("main");
  markPlates(main);
  new MutationObserver((changes) => {
    if (starred.size && changes.some(({ addedNodes }) => addedNodes.length)) markPlates(main);
  }).observe(main, { childList: true, subtree: true });

  // -- the control of a unit
  const control = document.getElementById("note");
  if (!control) return;
  const star = document.getElementById("star");
  const field = document.getElementById("note-text");
  const status = document.getElementById("note-status");
  const { unit } = control.dataset;
  let saved = { star: units[unit]?.[0] ?? false, text: units[unit]?.[1] ?? "" };
  let current = { ...saved };

  const fitHeight = () => {
    field.rows = Math.min(Math.max(field.value.split("\n").length, Math.ceil(field.value.length / 60), 1), 12);
  };
  const show = () => {
    star.setAttribute("aria-pressed", String(current.star));
    star.firstElementChild.textContent = current.star ? "★" : "☆";
    if (field.value !== current.text) field.value = current.text;
    fitHeight();
  };
  control.hidden = !target && !saved.star && !saved.text;
  star.disabled = !target;
  field.readOnly = !target;
  field.hidden = !target && !saved.text;
  field.maxLength = maxText;
  show();
  if (!target) return;

  // Changes are sent one after another; what is typed meanwhile follows.
  let isSending = false;
  const save = async () => {
    if (isSending || (saved.star === current.star && saved.text === current.text)) return;
    isSending = true;
    const sent = { ...current };
    status.textContent = "Saving …";
    try {
      const response = await fetch(retroscope.root + target, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ unit, ...sent }),
        keepalive: true,
      });
      const facts = await response.json();
      if (facts.error) throw new Error(facts.error);
      saved = sent;
      units[unit] = [sent.star, sent.text, location.pathname];
      status.textContent = "Saved";
    } catch (error) {
      status.textContent = `Not saved: ${error instanceof TypeError ? "the server does not answer" : error.message}`;
      return;
    } finally {
      isSending = false;
    }
    save();
  };
  star.addEventListener("click", () => {
    current.star = !current.star;
    show();
    save();
  });
  let timer = 0;
  field.addEventListener("input", () => {
    current.text = field.value;
    fitHeight();
    clearTimeout(timer);
    timer = setTimeout(save, 600);
  });
  field.addEventListener("change", save);
  addEventListener("pagehide", save);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") field.blur();
  });
  retroscope.keys.f = () => star.click();
  retroscope.keys.n = () => field.focus();
})();
