// Charts are drawn once release() is called.
(() => {
  const held = [];
  let embed, free = false;
  globalThis.release = () => { free = true; for (const go of held.splice(0)) go(); };
  const slow = async (...words) => {
    if (!free) await new Promise((go) => held.push(go));
    return embed(...words);
  };
  Object.defineProperty(globalThis, "vegaEmbed", { set(it) { embed = it; }, get: () => slow });
})();
