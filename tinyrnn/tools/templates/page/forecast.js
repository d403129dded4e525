// A forecaster's page.
let series = [], said = null, busy = false, waiting = false, scale = null

data.seasons.forEach((season, k) => {
  if (season < 2) return
  const input = make("input", {id: `place-${k}`, type: "number", min: 0, max: season - 1, value: 0})
  const label = make("label", {htmlFor: input.id}, `First value's place in the season of ${season}`, input)
  input.setAttribute("aria-describedby", "places-hint")
  input.oninput = forecast
  $("places").append(label)
})
if (!$("places").children.length) $("places-hint").hidden = true

function draw() {
  const shown = series.slice(-Math.max(3 * data.horizon, data.window)), [blue, red] = lineColours()
  const lines = [{values: shown, colour: blue, at: 0}], at = shown.length
  if (said) lines.push({values: [shown.at(-1), ...said.forecast], colour: red, at: at - 1, dashed: true})
  const empty = series.length ? {} : {low: 0, high: 1}
  scale = plot($("plot"), lines, {band: said && {...{low: said.lower, high: said.upper}, at}, from: 0, to: Math.max(at + data.horizon - 1, data.needed), ...empty})
  $("plot").setAttribute("aria-label", said
    ? `${series.length} values and ${data.horizon} that are forecast, the last ${brief(said.forecast.at(-1))}; all stand in the table below`
    : "Nothing is forecast yet")
}
redraws.push(draw)

function table() {
  $("rows").replaceChildren(...Array.from(said ? said.forecast : [], (v, i) =>
    make("tr", {}, make("th", {scope: "row", textContent: `+${i + 1}`}), ...[v, said.lower[i], said.upper[i]].map(x => make("td", {textContent: steady(x)})))))
}

/** Why the values that are given cannot be forecast from; empty if they can. */
function fault() {
  const less = data.positive && series.find(v => v <= 0)
  if (less !== undefined && less !== false) return `The model reads logarithms: ${brief(less)} has none, give values above 0.`
  if (series.length < data.needed) return `A forecast is made from ${data.needed} values at least.`
  return ""
}

function forecast() {
  if (busy) { waiting = true; return }
  const {rows, told = "", fault: unread} = parsed($("input").value, 1)
  series = rows.map(row => row[0])
  const why = unread ?? (series.length ? fault() : "")
  $("told").textContent = `${told} ${why}`.trim()
  if (why || !series.length) {
    said = null
    $("status").textContent = ""
    table()
    draw()
    return
  }
  busy = true
  const phases = data.seasons.map((season, k) => season < 2 ? 0 : (((+$(`place-${k}`).value || 0) % season + season) % season) / season)
  start({job: "forecast", values: series, phases, horizon: data.horizon, states: data.states}, message => {
    busy = false
    said = message
    table()
    draw()
    if (waiting) { waiting = false; forecast(); return }
    const [first, last] = [0, data.horizon - 1].map(i => `${brief(said.forecast[i])} (${brief(said.lower[i])} to ${brief(said.upper[i])})`)
    $("status").textContent = data.horizon > 1 ? `Next ${first}, after ${data.horizon} steps ${last}.` : `Next ${first}.`
  })
}

function give(values) {
  $("input").value = values.map(v => +v.toPrecision(5)).join("\n")
  forecast()
}
drawable($("plot"), points => {
  const least = data.positive ? 1e-3 : -Infinity
  give(resampled(points, data.drawn).map(y => Math.max(least, scale.value(y))))
})
$("input").oninput = forecast
$("clear").onclick = () => { $("input").value = ""; forecast(); $("input").focus() }
$("file").onchange = async () => {
  const [file] = $("file").files
  if (!file) return
  $("input").value = await file.text()
  forecast()
}
$("form").onsubmit = e => e.preventDefault()
forecast()
