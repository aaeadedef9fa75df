// Sets light or dark before the first line is painted. A plain script, so that it runs that early.

(function () {
  let chosen = null;
  try {
    chosen = localStorage.getItem("mien-theme");
  } catch {
    // Storage may be forbidden: the system's choice holds then.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
