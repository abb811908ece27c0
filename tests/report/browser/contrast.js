// Text that is told from what is behind it by less than 4.5 to 1 (WCAG 2.2, 1.4.3), a line each.
() => {
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const linear = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const cellBehind = (svg, text) => {
    const box = text.getBoundingClientRect(), [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    return [...svg.querySelectorAll('.mark-rect path')].find((cell) => {
      const own = cell.getBoundingClientRect();
      return own.left <= x && x <= own.right && own.top <= y && y <= own.bottom;
    });
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility() || element.closest('script, style')) continue;
    const inSvg = element.closest('svg');
    const style = getComputedStyle(element);
    const cell = inSvg && element.closest('.mark-text.role-mark') && cellBehind(inSvg, element);
    const behind = cell ? numbers(getComputedStyle(cell).fill) : ground(inSvg ? inSvg.parentElement : element);
    const [a, b] = [luminance(numbers(inSvg ? style.fill : style.color)), luminance(behind)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (!(ratio >= 4.5)) found.push(`${ratio.toFixed(2)} ${element.tagName}.${element.className} ${walker.currentNode.textContent.trim().slice(0, 40)}`);
  }
  return found;
}
