/// Takes what a `TextScanner` finds in a text, in its order.
protocol ScanSink {
    /// A word, folded.
    mutating func word(_ octets: UnsafeBufferPointer<UInt8>)
    /// A run of characters that are not divided into words, folded.
    mutating func run(_ points: [UInt32], _ script: Script)
    mutating func special(_ finding: SpecialScanner.Finding)
}

/// Divides a text into words: UAX #29, then at `_ . : - /` as well, runs of Chinese, Japanese, Korean and Thai apart.
///
/// A text of ASCII takes a short way to the same result; the tests hold one against the other.
struct TextScanner {
    /// The word at hand, in lower case.
    private var scratch: [UInt8] = []

    mutating func scan<Sink: ScanSink>(_ text: UnsafeBufferPointer<UInt8>, to sink: inout Sink) {
        if !scanASCII(text, to: &sink) { Self.scanAny(text, to: &sink) }
    }

    // MARK: ASCII

    private enum Kind {
        static let other: UInt8 = 0
        static let letter: UInt8 = 1
        static let digit: UInt8 = 2
        /// `'`: stays within letters and within digits.
        static let apostrophe: UInt8 = 3
        /// `,` and `;`: stay within digits.
        static let comma: UInt8 = 4
    }

    private static let kinds: [UInt8] = (0..<128).map { octet in
        switch UInt8(octet) {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): Kind.letter
        case UInt8(ascii: "0")...UInt8(ascii: "9"): Kind.digit
        case UInt8(ascii: "'"): Kind.apostrophe
        case UInt8(ascii: ","), UInt8(ascii: ";"): Kind.comma
        default: Kind.other
        }
    }

    /// False, and nothing told, if the text is not all ASCII.
    private mutating func scanASCII<Sink: ScanSink>(
        _ text: UnsafeBufferPointer<UInt8>, to sink: inout Sink
    ) -> Bool {
        var all: UInt8 = 0
        for octet in text { all |= octet }
        guard all < 0x80 else { return false }
        let hasSpecials = Self.mayHaveSpecials(text)
        if hasSpecials {
            for finding in SpecialScanner.scan(text.map(UInt32.init)) { sink.special(finding) }
        }
        let longest = text.count
        if scratch.count < longest { scratch = [UInt8](repeating: 0, count: longest * 2) }
        Self.kinds.withUnsafeBufferPointer { kinds in
            scratch.withUnsafeMutableBufferPointer { scratch in
                var count = 0
                var previous = Kind.other
                var index = 0
                while index < text.count {
                    let octet = text[index]
                    let kind = kinds[Int(octet)]
                    switch kind {
                    case Kind.letter:
                        scratch[count] = octet | 0x20
                        count += 1
                    case Kind.digit:
                        scratch[count] = octet
                        count += 1
                    default:
                        let next = index + 1 < text.count ? kinds[Int(text[index + 1])] : Kind.other
                        let joins =
                            count > 0 && next == previous
                            && (kind == Kind.apostrophe || kind == Kind.comma && previous == Kind.digit)
                            && (previous == Kind.letter || previous == Kind.digit)
                        if joins {
                            scratch[count] = octet
                            count += 1
                        } else if count > 0 {
                            sink.word(UnsafeBufferPointer(rebasing: scratch[..<count]))
                            count = 0
                        }
                    }
                    previous = kind
                    index += 1
                }
                if count > 0 { sink.word(UnsafeBufferPointer(rebasing: scratch[..<count])) }
            }
        }
        return true
    }

    /// Whether looking for addresses and names can find anything.
    private static func mayHaveSpecials(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        for index in text.indices {
            switch text[index] {
            case UInt8(ascii: "@"), UInt8(ascii: "#"): return true
            case UInt8(ascii: "."):
                // A full stop inside of a name.
                if index > 0, index + 1 < text.count, isAlphanumeric(text[index - 1]),
                    isAlphanumeric(text[index + 1])
                {
                    return true
                }
            case UInt8(ascii: "/"):
                if index > 1, text[index - 1] == UInt8(ascii: "/"), text[index - 2] == UInt8(ascii: ":") {
                    return true
                }
            default: break
            }
        }
        return false
    }

    private static func isAlphanumeric(_ octet: UInt8) -> Bool {
        let kind = octet < 0x80 ? kinds[Int(octet)] : Kind.letter
        return kind == Kind.letter || kind == Kind.digit
    }

    // MARK: Any text

    /// The long way, which is right for every text.
    static func scanAny<Sink: ScanSink>(_ text: UnsafeBufferPointer<UInt8>, to sink: inout Sink) {
        let points = UTF8Text.decode(text)
        if points.contains(where: {
            $0 == 0x40 || $0 == 0x23 || $0 == 0x2E || $0 == 0x2F || $0 > 0xFF00
        }) {
            for finding in SpecialScanner.scan(points) { sink.special(finding) }
        }
        let properties = points.map(WordBreak.property)
        let boundaries = WordBreak.boundaries(properties: properties)
        var pending = Pending()
        for index in boundaries.indices.dropLast() {
            pending.add(
                segment: boundaries[index]..<boundaries[index + 1], points: points, properties: properties,
                to: &sink)
        }
        pending.end(&sink)
    }

    /// What is not told yet: a run goes on over the boundaries of UAX #29, a word does not.
    private struct Pending {
        private var points: [UInt32] = []
        private var script: Script?

        mutating func add<Sink: ScanSink>(
            segment: Range<Int>, points all: [UInt32], properties: [UInt8], to sink: inout Sink
        ) {
            if script == .other { end(&sink) }
            let first = properties[segment.lowerBound]
            if isEmoji(first) {
                end(&sink)
                points = Array(all[segment])
                script = .other
                return
            }
            for index in segment {
                let (point, property) = (all[index], properties[index] & 0x1F)
                switch property {
                case WordBreak.Property.extend, WordBreak.Property.zwj, WordBreak.Property.format:
                    // Belongs to what it follows; on its own it is nothing.
                    let own = Script.of(point)
                    if own == .thai, script != .other {
                        add(point, .thai, &sink)
                    } else if script != nil {
                        points.append(point)
                    }
                case WordBreak.Property.aLetter, WordBreak.Property.hebrewLetter,
                    WordBreak.Property.numeric,
                    WordBreak.Property.katakana:
                    let own = Script.of(point)
                    add(point, own == .cjk || own == .thai ? own : .other, &sink)
                case WordBreak.Property.singleQuote where script == .other,
                    WordBreak.Property.midNum where script == .other:
                    points.append(point)
                case WordBreak.Property.midNumLet where script == .other && isApostrophe(point):
                    points.append(0x27)
                default:
                    let own = Script.of(point)
                    if own == .cjk || own == .thai { add(point, own, &sink) } else { end(&sink) }
                }
            }
        }

        private mutating func add<Sink: ScanSink>(_ point: UInt32, _ kind: Script, _ sink: inout Sink) {
            if script != kind { end(&sink) }
            script = kind
            points.append(point)
        }

        mutating func end<Sink: ScanSink>(_ sink: inout Sink) {
            defer {
                points.removeAll(keepingCapacity: true)
                script = nil
            }
            guard let script else { return }
            // A quote or comma at the end joined nothing: a script changed behind it.
            while let last = points.last, last == 0x27 || last == 0x2C || last == 0x3B {
                points.removeLast()
            }
            let folded = CaseFolding.fold(points)
            guard !folded.isEmpty else { return }
            if script == .other {
                let octets = UTF8Text.encode(folded.map { isApostrophe($0) ? 0x27 : $0 })
                octets.withUnsafeBufferPointer { sink.word($0) }
            } else {
                sink.run(folded, script)
            }
        }

        private func isEmoji(_ property: UInt8) -> Bool {
            let own = property & 0x1F
            return own == WordBreak.Property.regionalIndicator
                || property & WordBreak.pictographic != 0 && own != WordBreak.Property.aLetter
        }

        private func isApostrophe(_ point: UInt32) -> Bool {
            point == 0x2018 || point == 0x2019 || point == 0xFF07
        }
    }
}
