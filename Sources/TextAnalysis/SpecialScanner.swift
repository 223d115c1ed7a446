/// Finds what has a meaning as a whole: addresses of the web and of mail, hosts, mentions and hashtags.
///
/// Works on what stands between white space. It only adds terms: the words inside are words as well.
enum SpecialScanner {
    struct Finding: Equatable {
        let termClass: TermClass
        /// Folded.
        let octets: [UInt8]
    }

    private static let at: UInt32 = 0x40
    private static let hash: UInt32 = 0x23
    private static let slash: UInt32 = 0x2F
    private static let colon: UInt32 = 0x3A
    private static let dot: UInt32 = 0x2E

    /// The last label of a name that is taken for a host without anything else that says so. Short and frozen: `it`, `no`
    /// and `in` are words that follow a full stop.
    private static let endings: Set<String> = [
        "com", "org", "net", "edu", "gov", "mil", "info", "io", "dev", "app", "de", "fr", "es", "nl",
        "se", "dk", "fi",
        "ru", "hu", "ro", "tr", "gr", "uk", "us", "ca", "au", "jp", "cn", "kr", "ch", "cz", "pl", "br",
        "eu",
    ]

    static func scan(_ points: [UInt32]) -> [Finding] {
        var findings: [Finding] = []
        var start = 0
        for index in 0...points.count where index == points.count || isSpace(points[index]) {
            if index > start { scanChunk(points[start..<index], into: &findings) }
            start = index + 1
        }
        return findings
    }

    private static func isSpace(_ point: UInt32) -> Bool {
        switch point {
        case 0x09...0x0D, 0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F,
            0x3000:
            true
        default: false
        }
    }

    private static func scanChunk(_ whole: ArraySlice<UInt32>, into findings: inout [Finding]) {
        let chunk = trimmed(whole)
        guard !chunk.isEmpty else { return }
        if let url = urlStart(in: chunk) {
            let address = chunk[url.start...]
            findings.append(Finding(termClass: .surface, octets: folded(address)))
            var host = address[url.host...].prefix { $0 != slash && $0 != 0x3F && $0 != hash }
            if let user = host.lastIndex(of: at) { host = host[(user + 1)...] }
            addHost(host.prefix { $0 != colon }, needsEnding: false, into: &findings)
            return
        }
        if let sign = chunk.firstIndex(of: at), sign > chunk.startIndex, isMail(chunk, sign) {
            findings.append(Finding(termClass: .surface, octets: folded(chunk)))
            addHost(chunk[(sign + 1)...], needsEnding: false, into: &findings)
            return
        }
        addNames(in: chunk, into: &findings)
        addHost(chunk.prefix { $0 != slash && $0 != colon }, needsEnding: true, into: &findings)
    }

    private static func isOpening(_ point: UInt32) -> Bool {
        switch point {
        case 0x28, 0x5B, 0x7B, 0x3C, 0x22, 0x27, 0xAB, 0x201C, 0x201E, 0x2018: true
        default: false
        }
    }

    private static func isClosing(_ point: UInt32) -> Bool {
        switch point {
        case 0x2E, 0x2C, 0x3B, 0x3A, 0x21, 0x3F, 0x29, 0x5D, 0x7D, 0x3E, 0x22, 0x27, 0xBB, 0x201D,
            0x2019, 0x2026,
            0x3001, 0x3002:
            true
        default: false
        }
    }

    /// Without the punctuation around it.
    private static func trimmed(_ chunk: ArraySlice<UInt32>) -> ArraySlice<UInt32> {
        let rest = chunk.drop(while: isOpening)
        guard let last = rest.lastIndex(where: { !isClosing($0) }) else { return [] }
        return rest[...last]
    }

    /// Where an address of the web starts, and its host.
    private static func urlStart(in chunk: ArraySlice<UInt32>) -> (start: Int, host: Int)? {
        for index in chunk.indices.dropLast(3) where chunk[index] == colon {
            guard chunk[index + 1] == slash, chunk[index + 2] == slash else { continue }
            var start = index
            while start > chunk.startIndex, isASCIILetter(chunk[start - 1]) { start -= 1 }
            return start < index ? (start, index + 3) : nil
        }
        let www: [UInt32] = [0x77, 0x77, 0x77, dot]
        let isWWW = zip(chunk, www).allSatisfy { $0 == $1 || isASCIILetter($0) && $0 | 0x20 == $1 }
        if chunk.count > 6, isWWW, isAlphanumeric(chunk[chunk.startIndex + 4]) {
            return (chunk.startIndex, chunk.startIndex)
        }
        return nil
    }

    private static func isMail(_ chunk: ArraySlice<UInt32>, _ sign: Int) -> Bool {
        let domain = chunk[(sign + 1)...]
        guard !domain.contains(at), domain.contains(dot), labels(of: domain) != nil else {
            return false
        }
        return chunk[..<sign].allSatisfy { isName($0) || $0 == 0x2B || $0 == 0x25 }
    }

    private static func addNames(in chunk: ArraySlice<UInt32>, into findings: inout [Finding]) {
        var index = chunk.startIndex
        while index < chunk.endIndex {
            let sign = chunk[index]
            let isSign = sign == at || sign == hash || sign == 0xFF20 || sign == 0xFF03
            guard isSign, index == chunk.startIndex || !isName(chunk[index - 1]) else {
                index += 1
                continue
            }
            let name = chunk[(index + 1)...].prefix(while: isName)
            let last = name.lastIndex { $0 != dot && $0 != 0x2D }
            if let last {
                let isMention = sign == at || sign == 0xFF20
                findings.append(
                    Finding(termClass: isMention ? .mention : .hashtag, octets: folded(name[...last])))
            }
            index += 1 + name.count
        }
    }

    /// The host and what it is part of, down to two labels.
    private static func addHost(
        _ name: ArraySlice<UInt32>, needsEnding: Bool, into findings: inout [Finding]
    ) {
        guard let labels = Self.labels(of: name), labels.count >= 2 else { return }
        if needsEnding, let last = labels.last, !endings.contains(String(decoding: last, as: UTF8.self)) {
            return
        }
        for start in 0..<min(labels.count - 1, 4) {
            findings.append(
                Finding(termClass: .surface, octets: Array(labels[start...].joined(separator: [0x2E]))))
        }
    }

    /// In lower case; nil if it can be no name of a host.
    private static func labels(of name: ArraySlice<UInt32>) -> [[UInt8]]? {
        let isHost = name.allSatisfy { isASCIILetter($0) || isDigit($0) || $0 == 0x2D || $0 == dot }
        let labels = name.split(separator: dot, omittingEmptySubsequences: false)
        let areSound = labels.allSatisfy { label in
            guard let first = label.first, let last = label.last else { return false }
            return isAlphanumeric(first) && isAlphanumeric(last)
        }
        guard isHost, areSound else { return nil }
        return labels.map { $0.map { isASCIILetter($0) ? UInt8($0 | 0x20) : UInt8($0) } }
    }

    private static func isASCIILetter(_ point: UInt32) -> Bool {
        (0x61...0x7A).contains(point | 0x20)
    }
    private static func isDigit(_ point: UInt32) -> Bool { (0x30...0x39).contains(point) }

    private static func isAlphanumeric(_ point: UInt32) -> Bool {
        isASCIILetter(point) || isDigit(point)
    }

    /// What may stand in the name of a person or a tag.
    private static func isName(_ point: UInt32) -> Bool {
        if point < 0x80 {
            return isASCIILetter(point) || isDigit(point) || point == 0x5F || point == 0x2D
                || point == dot
        }
        switch WordBreak.property(point) & 0x1F {
        case WordBreak.Property.aLetter, WordBreak.Property.hebrewLetter, WordBreak.Property.katakana,
            WordBreak.Property.numeric, WordBreak.Property.extend, WordBreak.Property.zwj,
            WordBreak.Property.extendNumLet:
            return true
        default:
            let script = Script.of(point)
            return script == .cjk || script == .thai
        }
    }

    private static func folded(_ points: ArraySlice<UInt32>) -> [UInt8] {
        UTF8Text.encode(CaseFolding.fold(points))
    }
}
