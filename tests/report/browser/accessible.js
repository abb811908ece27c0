// What is missing for who cannot see the page, or has no pointer, a line each.
() => {
  const wrong = [], all = (selector) => [...document.querySelectorAll(selector)];
  const name = (element) => (element.getAttribute('aria-label') || element.textContent || element.title || '').trim();
  const ids = all('[id]').filter((one) => !one.closest('svg')).map((one) => one.id);
  const say = (what, found) => found.forEach((one) => wrong.push(`${what}: ${one.outerHTML.slice(0, 100)}`));
  if (new Set(ids).size !== ids.length) wrong.push('an id is there twice');
  let level = 0;
  for (const head of all('h1, h2, h3, h4')) { const now = Number(head.tagName[1]); if (now > level + 1) say('skips a level', [head]); level = now; }
  if (all('h1').length !== 1 || all('main').length !== 1 || all('nav[aria-label]').length !== 1) wrong.push('landmarks');
  say('a picture says nothing', all('img').filter((one) => !one.alt.trim()));
  say('a chart says nothing', all('.view, .curve').filter((one) => one.getAttribute('role') !== 'img' || name(one).length < 5));
  say('has no name', all('button, a').filter((one) => !name(one) && !one.querySelector('img[alt]')));
  say('has no label', all('select, input').filter((one) => !one.labels.length));
  say('a heading without scope', all('th').filter((one) => !one.scope));
  say('a section without a name', all('section, [role=region]').filter((one) => !one.hasAttribute('aria-label') && !document.getElementById(one.getAttribute('aria-labelledby'))));
  say('scrolls and cannot be reached', all('.scroll, pre').filter((one) => one.tabIndex !== 0));
  say('order of focus', all('[tabindex]').filter((one) => one.tabIndex > 0));
  say('leads nowhere', all('a[href^="#"]').filter((one) => one.hash && !one.hash.startsWith('#unfold=') && !document.getElementById(one.hash.slice(1))));
  if (document.documentElement.lang !== 'en' || !document.title) wrong.push('language or title');
  return wrong;
}
