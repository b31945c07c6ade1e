// Colours and font of the page the panel stands in: JupyterLab's variables where they are, else what is inherited.

export function readTheme(el) {
  const style = getComputedStyle(el);
  const [r, g, b] = (style.color.match(/[\d.]+/g) ?? [0, 0, 0]).map(Number);
  const dark = 0.2126 * r + 0.7152 * g + 0.0722 * b > 128; // light text means a dark page
  return {
    dark,
    text: style.color,
    page: style.getPropertyValue("--jp-layout-color1") || (dark ? "#111" : "#fff"),
    grid: dark ? "rgba(255, 255, 255, 0.13)" : "rgba(0, 0, 0, 0.10)",
    font: style.fontFamily,
  };
}

// Calls back when the page changes its theme; returns the way to stop.
export function watchTheme(onChange) {
  // At once, and again when the style sheet that the attribute stands for has surely been loaded.
  let later = 0;
  const changed = () => {
    clearTimeout(later);
    later = setTimeout(onChange, 500);
    onChange();
  };
  const observer = new MutationObserver(changed);
  const attributeFilter = ["data-jp-theme-light", "data-jp-theme-name", "class", "data-theme"];
  observer.observe(document.body, { attributes: true, attributeFilter });
  observer.observe(document.documentElement, { attributes: true, attributeFilter });
  const media = matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", changed);
  return () => {
    observer.disconnect();
    media.removeEventListener("change", changed);
    clearTimeout(later);
  };
}
