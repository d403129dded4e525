// What computes: in a worker of its own where the browser allows one. It is told {job, id, ...} and answers {id, ...};
// a new job ends the one before.
const CHUNK = 12 // milliseconds between looks at what it is told
let run = {}, current = 0

/** The arrays that were written, as the graphs take them: what is in 8 bits times its scales. */
function unpacked(entries, bytes) {
  const found = {}
  for (const {name, at, size, width, scales, rows} of entries) {
    if (scales === undefined) { found[name] = new Float32Array(bytes, at, size); continue }
    const whole = new Int8Array(bytes, at, size), scale = new Float32Array(bytes, scales, rows ? size / width : width)
    const values = found[name] = new Float32Array(size)
    for (let i = 0, r = 0; i < size; r++) {
      for (let j = 0; j < width; j++, i++) values[i] = whole[i] * scale[rows ? r : j]
    }
  }
  return found
}

function load({weights, constants}) {
  const text = atob(weights), bytes = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i)
  for (const name in constants) run[name] = graphs[name](unpacked(constants[name], bytes.buffer), Float32Array)
}

/** Lets what was told come in; false where another job has begun meanwhile. */
const channel = new MessageChannel(), waiting = []
channel.port1.onmessage = () => waiting.shift()()
async function goesOn(id) {
  await new Promise(then => { waiting.push(then); channel.port2.postMessage(0) })
  return current === id
}

const started = states => Object.fromEntries(Object.entries(states).map(([name, row]) => [name, Float32Array.from(row)]))
const next = (states, outputs) => Object.fromEntries(Object.keys(states).map(name => [name, outputs["new_" + name]]))
const joined = arrays => {
  const all = new Float32Array(arrays.reduce((n, a) => n + a.length, 0))
  let at = 0
  for (const a of arrays) { all.set(a, at); at += a.length }
  return all
}

/** Probabilities of logits that are divided by a temperature. */
function probabilities(logits, temperature = 1) {
  const p = new Float64Array(logits.length)
  let top = -Infinity, sum = 0
  for (let i = 0; i < p.length; i++) top = Math.max(top, p[i] = logits[i] / temperature)
  for (let i = 0; i < p.length; i++) sum += p[i] = Math.exp(p[i] - top)
  for (let i = 0; i < p.length; i++) p[i] /= sum
  return p
}

/** An id: the most probable at temperature 0, else drawn among the most probable that together reach topP. */
function chosen(logits, {temperature, topP}, banned) {
  const open = Float64Array.from(logits)
  if (banned != null) open[banned] = -Infinity // a placeholder is no text
  if (temperature === 0) return open.reduce((most, z, i) => z > open[most] ? i : most, 0)
  const p = probabilities(open, temperature)
  let kept = Array.from(p.keys()), total = 1
  if (topP < 1) {
    const least = (1 - topP) / p.length // what is below that is not needed, all of it together
    kept = kept.filter(i => p[i] >= least).sort((a, b) => p[b] - p[a] || a - b)
    let n = 0
    for (total = 0; n < kept.length && (n === 0 || total < topP); n++) total += p[kept[n]]
    kept.length = n
  }
  let rest = Math.random() * total
  return kept.find(i => (rest -= p[i]) < 0) ?? kept.findLast(i => p[i] > 0) // the last: where sums are rounded
}

/** The most probable ids with their probabilities. */
function best(p, count) {
  const found = []
  for (let i = 0; i < p.length; i++) {
    if (found.length === count && p[i] <= found[count - 1][1]) continue
    let at = found.length
    while (at && found[at - 1][1] < p[i]) at--
    found.splice(at, 0, [i, p[i]])
    found.length = Math.min(found.length, count)
  }
  return found
}

const jobs = {
  /** A language model reads the ids of a prompt and goes on. */
  async write({id, ids, length, states, unknown, ...how}, send) {
    let kept = started(states), p = null, logits = null, symbols = [], since = performance.now()
    for (let n = 0; n < ids.length + length; n++) {
      const given = n < ids.length, symbol = given ? ids[n] : chosen(logits, how, unknown)
      const before = p
      const outputs = run.step({ids: [symbol], ...kept})
      kept = next(kept, outputs)
      logits = outputs.logits
      p = probabilities(logits)
      symbols.push({symbol, given, p: before && before[symbol], best: before ? best(before, 5) : [], states: joined(Object.values(kept))})
      if (performance.now() - since > CHUNK) {
        send({id, symbols})
        symbols = []
        if (!await goesOn(id)) return
        since = performance.now()
      }
    }
    send({id, symbols, done: true})
  },

  /** A classifier. */
  async classify({id, ...inputs}, send) {
    send({id, probabilities: Array.from(run.classify(inputs).probabilities), done: true})
  },

  /** A forecaster reads a series, goes on by what it said itself, and says how far it may be off. */
  async forecast({id, values, phases, horizon, states}, send) {
    const before = run.read({values: Float32Array.from(values), first_phases: Float32Array.from(phases)}), said = [before.said]
    let kept = {...started(states), ...before}
    for (let n = 1; n < horizon; n++) {
      const outputs = run.step(kept)
      said.push(outputs.said)
      kept = {...kept, ...next(states, outputs)}
    }
    const {forecast, lower, upper} = run.end({...before, said: joined(said)})
    send({id, forecast, lower, upper, done: true})
  },

  /** A translator writes, greedily, with what each symbol looked at. */
  async translate({id, ids, end, limit, states, unknown}, send) {
    const {keys, projected, ...first} = run.read({ids}), kept = Object.keys(states)
    let now = Object.fromEntries(kept.map(name => [name, first[name]])), symbol = end
    for (let n = 0; n < limit; n++) {
      const outputs = run.step({ids: [symbol], keys, projected, ...now}), p = probabilities(outputs.logits)
      now = next(now, outputs)
      symbol = chosen(outputs.logits, {temperature: 0}, unknown)
      const last = symbol === end || n === limit - 1
      send({id, symbols: [{symbol, end: symbol === end, p: p[symbol], best: best(p, 5), weights: outputs.weights}], done: last})
      if (last || !await goesOn(id)) return
    }
  },
}

return async message => {
  current = message.id
  try {
    if (message.job === "load") load(message)
    if (message.job in jobs) await jobs[message.job](message, send)
  } catch (error) { send({fault: error.message}) }
}
