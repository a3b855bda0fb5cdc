// Runs before the page is painted: the reader's choice of dark or light, and a place for our names.
"use strict";
globalThis.retroscope = { model: null };
(() => {
  const root = document.documentElement;
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  // A browser may forbid storage to pages from a folder; the choice then lasts for the page.
  const storage = (() => {
    try {
      return globalThis.localStorage;
    } catch {
      return null;
    }
  })();
  const kept = storage?.getItem("retroscope.theme");
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  root.classList.add("scripts");
  retroscope.turnTheme = () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches;
    root.dataset.theme = dark ? "light" : "dark";
    storage?.setItem("retroscope.theme", root.dataset.theme);
    return root.dataset.theme;
  };
})();
