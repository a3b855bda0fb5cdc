// The list of images: filtered by name and class, sorted. As sent, it is a page in the order of the scan.
"use strict";
(() => {
  const form = document.getElementById("view-options");
  const grid = document.getElementById("images");
  const more = document.getElementById("more");
  const pager = document.querySelector(".pager");
  if (!form) return;
  const sent = [...grid.children];
  const defaults = { q: "", class: "", sort: "scan" };
  const BLOCK = 240;
  let rows = [];
  let shown = 0;

  const readValues = () => Object.fromEntries(new FormData(form));
  const isDefault = (values) => Object.entries(defaults).every(([name, value]) => (values[name] ?? "") === value);
  const orders = {
    scan: () => 0,
    name: ([, a], [, b]) => a.localeCompare(b, undefined, { numeric: true }),
    units: ([, , , a], [, , , b]) => b - a,
  };
  const findRows = ({ q, class: name = "", sort }) => {
    const words = q.toLowerCase().split(/\s+/).filter(Boolean);
    const label = name ? retroscope.images.classes.indexOf(name) : null;
    return retroscope.images.rows
      .filter(([, source, itsLabel]) =>
        (label === null || itsLabel === label) && words.every((word) => source.toLowerCase().includes(word)))
      .sort(orders[sort]);
  };
  const makeItem = ([image, source, , units]) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    const photo = document.createElement("img");
    link.href = retroscope.fillPath(retroscope.images.href, { image });
    link.title = `${source}: ${units} unit${units === 1 ? "" : "s"}`;
    photo.src = retroscope.fillPath(retroscope.images.src, { image });
    photo.alt = source;
    photo.loading = "lazy";
    photo.decoding = "async";
    link.append(photo);
    item.append(link);
    return item;
  };
  const showMore = () => {
    grid.append(...rows.slice(shown, shown + BLOCK).map(makeItem));
    shown = Math.min(shown + BLOCK, rows.length);
    more.hidden = shown === rows.length;
  };
  const count = document.getElementById("count");
  const apply = async () => {
    const values = readValues();
    retroscope.options.write(values, defaults);
    const isSent = isDefault(values);
    if (pager) pager.hidden = !isSent;
    if (isSent) {
      grid.replaceChildren(...sent);
      more.hidden = true;
      count.textContent = "";
      return;
    }
    if (!retroscope.images) {
      count.textContent = "Loading …";
      try {
        await retroscope.loadScript(document.body.dataset.list);
      } catch {
        count.textContent = "The list could not be loaded; choose again to retry.";
        return;
      }
      apply(); // with what is chosen by now
      return;
    }
    rows = findRows(values);
    shown = 0;
    grid.replaceChildren();
    showMore();
    count.textContent = `${rows.length} of ${retroscope.images.rows.length} images`;
  };
  const restore = () => {
    const stored = retroscope.options.read();
    for (const [name, value] of Object.entries(defaults)) {
      const text = stored.get(name) ?? value;
      const inputs = [...form.querySelectorAll(`[name=${name}]`)];
      for (const input of inputs) {
        if (input.type === "radio") input.checked = input.value === text;
        else input.value = text;
      }
      if (inputs[0]?.type === "radio" && !inputs.some((input) => input.checked)) inputs[0].checked = true;
      if (inputs[0]?.tagName === "SELECT" && inputs[0].selectedIndex < 0) inputs[0].value = value;
    }
    apply();
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", showMore);
  addEventListener("hashchange", restore);
  restore();
})();
