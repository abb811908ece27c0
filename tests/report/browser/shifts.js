// Writes down what moves without being asked to (https://wicg.github.io/layout-instability/), in `window.shifts`.
window.shifts = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    const what = entry.sources.map(({ node }) => (node && node.parentElement ? node.parentElement.id || node.nodeName : '?'));
    window.shifts.push(`${entry.value.toFixed(4)} at ${scrollY}: ${what.join(', ')}`);
  }
}).observe({ type: 'layout-shift', buffered: true });
