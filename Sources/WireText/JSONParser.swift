import Diagnostics
import Glibc

/// Reads one JSON text into the node list of a `JSONDocument`. Recursion is bounded by the depth limit.
struct JSONParser {
    let text: UnsafeRawBufferPointer
    let limits: JSONDocument.Limits
    private var position = 0
    private var depth = 0
    private var nodes: ContiguousArray<JSONDocument.Node> = []

    init(text: UnsafeRawBufferPointer, limits: JSONDocument.Limits) {
        self.text = text
        self.limits = limits
    }

    mutating func parse() throws(DiagnosedError) -> ContiguousArray<JSONDocument.Node> {
        nodes.reserveCapacity(min(64, text.count))
        skipSpace()
        try value()
        skipSpace()
        guard position == text.count else { throw .json("something follows the value", at: position) }
        return nodes
    }

    private var current: UInt8? { position < text.count ? text[position] : nil }

    private mutating func skipSpace() {
        while position < text.count {
            switch text[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return
            }
        }
    }

    private mutating func add(_ kind: JSONNode.Kind, start: Int) throws(DiagnosedError) -> Int {
        guard nodes.count < limits.maximumNodes else {
            throw .json("too many values", expected: "at most \(limits.maximumNodes)", at: position)
        }
        let index = nodes.count
        nodes.append(.init(kind: kind, isComplex: false, start: UInt32(start), end: UInt32(start), next: 0))
        return index
    }

    private mutating func finish(_ index: Int, end: Int, isComplex: Bool = false) {
        nodes[index].end = UInt32(end)
        nodes[index].next = UInt32(nodes.count)
        nodes[index].isComplex = isComplex
    }

    private mutating func value() throws(DiagnosedError) {
        switch current {
        case UInt8(ascii: "{"): try object()
        case UInt8(ascii: "["): try array()
        case UInt8(ascii: "\""): try string()
        case UInt8(ascii: "t"): try literal("true", .boolean)
        case UInt8(ascii: "f"): try literal("false", .boolean)
        case UInt8(ascii: "n"): try literal("null", .null)
        case nil: throw .json("the text ends where a value is due", at: position)
        case let first? where first == UInt8(ascii: "-") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first):
            try number()
        default: throw .json("no value begins with this character", at: position)
        }
    }

    private mutating func enter() throws(DiagnosedError) {
        depth += 1
        guard depth <= limits.maximumDepth else {
            throw .json("nested too deeply", expected: "at most \(limits.maximumDepth) levels", at: position)
        }
    }

    private mutating func object() throws(DiagnosedError) {
        try enter()
        let index = try add(.object, start: position)
        position += 1
        skipSpace()
        var names: [Int] = []
        if current == UInt8(ascii: "}") {
            position += 1
        } else {
            while true {
                guard current == UInt8(ascii: "\"") else { throw .json("a member name is due", at: position) }
                names.append(nodes.count)
                try string()
                skipSpace()
                guard current == UInt8(ascii: ":") else { throw .json("a colon is due", at: position) }
                position += 1
                skipSpace()
                try value()
                skipSpace()
                if current == UInt8(ascii: ",") {
                    position += 1
                    skipSpace()
                } else if current == UInt8(ascii: "}") {
                    position += 1
                    break
                } else {
                    throw .json("a comma or the end of the object is due", at: position)
                }
            }
            try refuseDuplicates(names)
        }
        finish(index, end: position)
        depth -= 1
    }

    private mutating func array() throws(DiagnosedError) {
        try enter()
        let index = try add(.array, start: position)
        position += 1
        skipSpace()
        if current == UInt8(ascii: "]") {
            position += 1
        } else {
            while true {
                try value()
                skipSpace()
                if current == UInt8(ascii: ",") {
                    position += 1
                    skipSpace()
                } else if current == UInt8(ascii: "]") {
                    position += 1
                    break
                } else {
                    throw .json("a comma or the end of the array is due", at: position)
                }
            }
        }
        finish(index, end: position)
        depth -= 1
    }

    private func refuseDuplicates(_ names: [Int]) throws(DiagnosedError) {
        let plain = names.allSatisfy { !nodes[$0].isComplex }
        if plain && names.count <= 12 {
            for (order, left) in names.enumerated() {
                for right in names[..<order] where bytes(left).elementsEqual(bytes(right)) {
                    throw .json("a member name appears twice", at: Int(nodes[left].start))
                }
            }
            return
        }
        var seen = Set<String>(minimumCapacity: names.count)
        for name in names where !seen.insert(Self.unescape(bytes(name))).inserted {
            throw .json("a member name appears twice", at: Int(nodes[name].start))
        }
    }

    private func bytes(_ index: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: text[Int(nodes[index].start)..<Int(nodes[index].end)])
    }

    private mutating func literal(_ word: StaticString, _ kind: JSONNode.Kind) throws(DiagnosedError) {
        let start = position
        let matches = word.withUTF8Buffer {
            text.count - start >= $0.count && text[start..<start + $0.count].elementsEqual($0)
        }
        guard matches else { throw .json("no value begins like this", at: start) }
        let index = try add(kind, start: start)
        position += word.utf8CodeUnitCount
        finish(index, end: position)
    }

    private mutating func digits() -> Int {
        let start = position
        while let character = current, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(character) { position += 1 }
        return position - start
    }

    private mutating func number() throws(DiagnosedError) {
        let index = try add(.number, start: position)
        if current == UInt8(ascii: "-") { position += 1 }
        let first = current
        let count = digits()
        guard count > 0, count == 1 || first != UInt8(ascii: "0") else { throw .json("malformed number", at: position) }
        var isComplex = false
        if current == UInt8(ascii: ".") {
            isComplex = true
            position += 1
            guard digits() > 0 else { throw .json("malformed number", at: position) }
        }
        if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
            isComplex = true
            position += 1
            if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") { position += 1 }
            guard digits() > 0 else { throw .json("malformed number", at: position) }
        }
        finish(index, end: position, isComplex: isComplex)
    }

    private mutating func string() throws(DiagnosedError) {
        position += 1
        let index = try add(.string, start: position)
        var isComplex = false
        while true {
            position = JSONCharacters.plainEnd(in: text, from: position, isASCII: true)
            guard let character = current else { throw .json("the text ends inside a string", at: position) }
            switch character {
            case UInt8(ascii: "\""):
                finish(index, end: position, isComplex: isComplex)
                position += 1
                return
            case UInt8(ascii: "\\"):
                isComplex = true
                try escape()
            case 0..<0x20: throw .json("a control character stands unescaped in a string", at: position)
            case 0x80...: try multibyte(character)
            default: position += 1
            }
        }
    }

    private mutating func escape() throws(DiagnosedError) {
        position += 1
        switch current {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            position += 1
        case UInt8(ascii: "u"):
            position += 1
            let unit = try codeUnit()
            switch unit {
            case 0xD800..<0xDC00:
                guard position + 1 < text.count, text[position] == UInt8(ascii: "\\"),
                    text[position + 1] == UInt8(ascii: "u")
                else { throw .json("half of a surrogate pair", at: position) }
                position += 2
                guard (0xDC00..<0xE000).contains(try codeUnit()) else {
                    throw .json("half of a surrogate pair", at: position)
                }
            case 0xDC00..<0xE000: throw .json("half of a surrogate pair", at: position)
            default: break
            }
        default: throw .json("unknown escape in a string", at: position)
        }
    }

    private mutating func codeUnit() throws(DiagnosedError) -> UInt16 {
        var unit: UInt16 = 0
        for _ in 0..<4 {
            guard let character = current, let value = Hexadecimal.value(character) else {
                throw .json("four hexadecimal digits are due", at: position)
            }
            unit = unit << 4 | UInt16(value)
            position += 1
        }
        return unit
    }

    /// One scalar of two to four octets; overlong forms, surrogates and values past U+10FFFF are refused (RFC 3629).
    private mutating func multibyte(_ first: UInt8) throws(DiagnosedError) {
        let length: Int
        var second: ClosedRange<UInt8> = 0x80...0xBF
        switch first {
        case 0xC2...0xDF: length = 2
        case 0xE0: (length, second) = (3, 0xA0...0xBF)
        case 0xED: (length, second) = (3, 0x80...0x9F)
        case 0xE1...0xEF: length = 3
        case 0xF0: (length, second) = (4, 0x90...0xBF)
        case 0xF4: (length, second) = (4, 0x80...0x8F)
        case 0xF1...0xF3: length = 4
        default: throw .json("not valid UTF-8", at: position)
        }
        guard position + length <= text.count, second.contains(text[position + 1]),
            text[(position + 2)..<(position + length)].allSatisfy({ (0x80...0xBF).contains($0) })
        else { throw .json("not valid UTF-8", at: position) }
        position += length
    }

    /// The text of a string that the parser accepted.
    static func unescape(_ bytes: UnsafeRawBufferPointer) -> String {
        var scalars = String.UnicodeScalarView()
        var units: [UInt8] = []
        func flush() {
            scalars.append(contentsOf: String(decoding: units, as: UTF8.self).unicodeScalars)
            units.removeAll(keepingCapacity: true)
        }
        var index = 0
        func unit(at start: Int) -> UInt32 {
            bytes[start..<start + 4].reduce(0) { $0 << 4 | UInt32(Hexadecimal.value($1) ?? 0) }
        }
        while index < bytes.count {
            guard bytes[index] == UInt8(ascii: "\\"), index + 1 < bytes.count else {
                units.append(bytes[index])
                index += 1
                continue
            }
            let escaped = bytes[index + 1]
            index += 2
            switch escaped {
            case UInt8(ascii: "b"): units.append(0x08)
            case UInt8(ascii: "f"): units.append(0x0C)
            case UInt8(ascii: "n"): units.append(0x0A)
            case UInt8(ascii: "r"): units.append(0x0D)
            case UInt8(ascii: "t"): units.append(0x09)
            case UInt8(ascii: "u"):
                flush()
                var value = unit(at: index)
                index += 4
                if (0xD800..<0xDC00).contains(value) {
                    value = 0x10000 + (value - 0xD800) << 10 + (unit(at: index + 2) - 0xDC00)
                    index += 6
                }
                if let scalar = Unicode.Scalar(value) { scalars.append(scalar) }
            default: units.append(escaped)
            }
        }
        flush()
        return String(scalars)
    }
}

/// Overwrites octets in a way that the optimizer may not leave out.
func wipe(_ bytes: UnsafeMutableRawBufferPointer) {
    if let start = bytes.baseAddress { explicit_bzero(start, bytes.count) }
}
