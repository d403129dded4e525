// Text to ids and back, as tinyrnn/tasks/text/vocabulary.py does it.
const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000" // what Python calls white space
const WORD = "\\p{L}\\p{N}_"
const WORDS = new RegExp(`\\n| ?[${WORD}]+(?:['’][${WORD}]+)*| ?[^${WORD}${SPACE}]|[${SPACE}]`, "gu")
const BEFORE_PAIRS = new RegExp(
  `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${SPACE}\\p{L}\\p{N}]+|[${SPACE}]+(?![^${SPACE}])|[${SPACE}]+`, "gu")
const SPACES = new RegExp(`[${SPACE}]+`, "u")
const utf8 = new TextEncoder()

// how byte pairs write bytes: printable ones as themselves, the others from 256 on
const PRINTED = new Map()
for (let b = 0, more = 256; b < 256; b++) {
  const shown = (b > 32 && b < 127) || (b > 160 && b < 173) || b > 173
  PRINTED.set(b, String.fromCharCode(shown ? b : more++))
}

class Vocabulary {
  constructor({level, symbols, unknown = null, any_case = false, line_end = "\n"}) {
    Object.assign(this, {level, unknown, lineEnd: line_end, spaced: ["word", "token", "bpe"].includes(level)})
    if (level === "bpe") {
      const {vocab, merges} = JSON.parse(symbols).model, bytes = new Map(Array.from(PRINTED, ([b, c]) => [c, b]))
      this.symbols = Object.keys(vocab).sort((a, b) => vocab[a] - vocab[b])
      this.bytes = this.symbols.map(s => Uint8Array.from(s, c => bytes.get(c)))
      this.ranks = new Map(merges.map((m, i) => [typeof m === "string" ? m : m.join(" "), i]))
    } else if (level === "byte") {
      this.symbols = Array.from({length: 256}, (_, b) => String.fromCharCode(b))
      this.bytes = this.symbols.map((_, b) => Uint8Array.of(b))
    } else this.symbols = symbols
    this.ids = new Map(this.symbols.map((s, i) => [s, i]))
    this.cases = new Map(any_case ? this.symbols.map((s, i) => [s.toLowerCase(), i]) : [])
  }

  get size() { return this.symbols.length }

  pieces(text) {
    if (this.level === "char") return [...text]
    if (this.level === "byte") return Array.from(utf8.encode(text), b => String.fromCharCode(b))
    if (this.level === "word") return text.match(WORDS) ?? []
    if (this.level === "token") return text.replaceAll("\n", ` ${this.lineEnd} `).split(SPACES).filter(Boolean)
    return (text.match(BEFORE_PAIRS) ?? []).flatMap(word => this.paired(word))
  }

  /** The byte pairs of a word: those that were learned first are joined first. */
  paired(word) {
    const parts = Array.from(utf8.encode(word), b => PRINTED.get(b))
    for (;;) {
      let least = Infinity, at = -1
      for (let i = 0; i + 1 < parts.length; i++) {
        const rank = this.ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity
        if (rank < least) [least, at] = [rank, i]
      }
      if (at < 0) return parts
      parts.splice(at, 2, parts[at] + parts[at + 1])
    }
  }

  /** Ids of a text, and the pieces that are outside the vocabulary, each once. */
  encode(text) {
    const ids = [], missing = new Set()
    for (const piece of this.pieces(text)) {
      const id = this.ids.get(piece) ?? this.cases.get(piece.toLowerCase())
      if (id === undefined) missing.add(piece)
      if ((id ?? this.unknown) !== null) ids.push(id ?? this.unknown)
    }
    return {ids, missing: [...missing]}
  }

  /** The same of a single text that is read as a whole: one id at least, and so many at most. */
  encodeText(text, most) {
    const {ids, missing} = this.encode(this.spaced ? " " + text.split(SPACES).filter(Boolean).join(" ") : text)
    return {ids: ids.length ? ids.slice(0, most) : [0], missing: missing.filter(s => s.trim()), cut: ids.length > most}
  }

  /** A function from one id to the text that it completes. */
  decoder() {
    if (this.bytes) {
      const decoder = new TextDecoder()
      return id => decoder.decode(this.bytes[id], {stream: true})
    }
    if (this.level === "char") return id => this.symbols[id]
    let last = ""
    const ends = new RegExp(`[${WORD}]$`, "u"), begins = new RegExp(`^[${WORD}]`, "u")
    return id => {
      const symbol = this.symbols[id]
      if (this.level === "token") return last = symbol === this.lineEnd ? "\n" : (["", "\n"].includes(last.slice(-1)) ? "" : " ") + symbol
      return last = (ends.test(last) && begins.test(symbol) ? " " : "") + symbol
    }
  }

  /** A symbol for people: what cannot be seen has a name. */
  named(id) {
    const bytes = this.bytes?.[id], names = {"\n": "line end", " ": "space", "\t": "tab", "\r": "return", "": "nothing"}
    const text = bytes ? new TextDecoder().decode(bytes) : this.symbols[id]
    if (text === this.lineEnd) return "line end"
    if (bytes && text.includes("\ufffd")) return "byte " + Array.from(bytes, b => b.toString(16).padStart(2, "0")).join(" ")
    return names[text] ?? `“${text}”`
  }

  /** One sentence about what is not read as it stands; empty if there is nothing to say. */
  told(missing) {
    if (!missing.length) return ""
    const shown = missing.slice(0, 5).map(s => `“${s}”`).join(" "), more = missing.length > 5 ? ` and ${missing.length - 5} more` : ""
    return `Not in this model's vocabulary, ${this.unknown === null ? "left out" : "read as unknown"}: ${shown}${more}.`
  }
}
