// Puts BROKEN in the place of the chart "good" before the page's own script reads it.
() => new MutationObserver(() => {
  const charts = document.getElementById("page-charts");
  if (!charts || window.spoilt) return;
  window.spoilt = 1;
  charts.textContent = JSON.stringify({ ...JSON.parse(charts.textContent), good: BROKEN });
}).observe(document, { childList: true, subtree: true })
