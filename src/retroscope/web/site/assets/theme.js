// Runs before the page is painted: applies the chosen theme and creates the `retroscope` namespace.
"use strict";
globalThis.retroscope = { model: null };
(() => {
  const root = document.documentElement;
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  // A browser may deny storage to pages from a folder; the choice is then lost with the page.
  const storage = (() => {
    try {
      return globalThis.localStorage;
    } catch {
      return null;
    }
  })();
  const stored = storage?.getItem("retroscope.theme");
  if (stored === "dark" || stored === "light") root.dataset.theme = stored;
  root.classList.add("scripts");
  retroscope.toggleTheme = () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches;
    root.dataset.theme = dark ? "light" : "dark";
    storage?.setItem("retroscope.theme", root.dataset.theme);
    return root.dataset.theme;
  };
})();
