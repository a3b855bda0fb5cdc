// The list of classes: filtered by name, sorted by name, as it is sent, or by a number, largest first.
"use strict";
(() => {
  const form = document.getElementById("view-options");
  const list = document.getElementById("classes");
  const count = document.getElementById("count");
  if (!form) return;
  const byName = [...list.children];
  const defaults = { q: "", sort: "name" };

  const apply = () => {
    const { q, sort } = Object.fromEntries(new FormData(form));
    const words = q.toLowerCase().split(/\s+/).filter(Boolean);
    const items = byName.filter((item) => {
      const name = item.querySelector("a").textContent.toLowerCase();
      return words.every((word) => name.includes(word));
    });
    if (sort !== "name") items.sort((a, b) => b.dataset[sort] - a.dataset[sort]);
    list.replaceChildren(...items);
    count.textContent = words.length ? `${items.length} of ${byName.length} classes` : "";
    retroscope.options.write({ q, sort }, defaults);
  };
  const restore = () => {
    const stored = retroscope.options.read();
    const sort = stored.get("sort") ?? defaults.sort;
    form.elements.q.value = stored.get("q") ?? defaults.q;
    const input = form.querySelector(`[name=sort][value="${CSS.escape(sort)}"]`) ?? form.querySelector("[name=sort]");
    input.checked = true;
    apply();
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", restore);
  restore();
})();
