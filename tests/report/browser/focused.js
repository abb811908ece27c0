// What has the focus, whether that is seen, and whether it is in the page at all.
() => {
  const at = document.activeElement, box = at.getBoundingClientRect();
  const what = at.id || at.textContent.trim().slice(0, 20);
  return { what, outline: getComputedStyle(at).outlineStyle, inside: box.right > 0 && box.bottom > 0 };
}
