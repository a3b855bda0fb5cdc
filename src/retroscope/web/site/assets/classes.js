// The list of classes: sorted by name, as it is sent, or by a number, largest first.
"use strict";
(() => {
  const form = document.getElementById("view-options");
  const list = document.getElementById("classes");
  if (!form) return;
  const byName = [...list.children];
  const defaults = { sort: "name" };

  const apply = () => {
    const { sort } = Object.fromEntries(new FormData(form));
    const items = [...byName];
    if (sort !== "name") items.sort((a, b) => b.dataset[sort] - a.dataset[sort]);
    list.replaceChildren(...items);
    retroscope.options.write({ sort }, defaults);
  };
  const restore = () => {
    const stored = retroscope.options.read().get("sort") ?? defaults.sort;
    const input = form.querySelector(`[value="${CSS.escape(stored)}"]`) ?? form.querySelector("input");
    input.checked = true;
    apply();
  };
  form.addEventListener("change", apply);
  addEventListener("hashchange", restore);
  restore();
})();
