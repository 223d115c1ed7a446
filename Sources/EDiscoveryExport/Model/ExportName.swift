import Cryptography
import WireText

extension Unicode.Scalar {
    /// Draws nothing, or changes how what is beside it is drawn: controls, marks of direction, joiners, tags, noncharacters.
    ///
    /// A list and not the Unicode tables: an export must not change with the version of the tables.
    var isHidden: Bool {
        switch value {
        case 0..<0x20, 0x7F..<0xA0, 0xAD, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180E, 0x200B...0x200F,
            0x2028...0x202E, 0x2060...0x206F, 0x3164, 0xFE00...0xFE0F, 0xFEFF, 0xFFA0, 0xFFF0...0xFFFB,
            0xFDD0...0xFDEF, 0xE0000...0xE0FFF:
            true
        default: value & 0xFFFE == 0xFFFE
        }
    }
}

/// Names of strangers made harmless: for a file of its own, for a header, for a reader's eye.
///
/// No path of the package is made of one: those are numbers (`DocumentNumbering`). What stands here is the name under
/// which somebody saves a file out of a message or a transcript.
package enum ExportName {
    /// Octets of a name; the longest that every file system takes is 255.
    static let limit = 120

    /// The base name: no folder, nothing hidden, no character that a file system reads otherwise, no reserved name, bounded with
    /// its extension kept. Never empty.
    package static func base(_ hostile: String?, fallback: String = "file") -> String {
        // Octets first: a name may be long, and only its end counts.
        let tail = (hostile ?? "").unicodeScalars.suffix(4096)
        let last = tail.lastIndex { $0 == "/" || $0 == "\\" }.map { tail.index(after: $0) } ?? tail.startIndex
        var scalars = String.UnicodeScalarView()
        for scalar in tail[last...] where !scalar.isHidden {
            switch scalar {
            case "<", ">", ":", "\"", "|", "?", "*": scalars.append("_")
            default: scalars.append(scalar)
            }
        }
        var name = trimmed(scalars)
        if name.isEmpty { return fallback }
        if isReserved(name) { name = "_" + name }
        return bounded(name)
    }

    /// The ending of a name as ASCII in lower case, or nil.
    package static func ending(_ hostile: String?) -> String? {
        let name = base(hostile, fallback: "")
        guard let dot = name.utf8.lastIndex(of: UInt8(ascii: ".")), dot != name.utf8.startIndex else { return nil }
        let ending = name.utf8[name.utf8.index(after: dot)...]
        guard (1...10).contains(ending.count) else { return nil }
        var text = ""
        for character in ending {
            switch character {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                text.unicodeScalars.append(Unicode.Scalar(character))
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): text.unicodeScalars.append(Unicode.Scalar(character | 0x20))
            default: return nil
            }
        }
        return text
    }

    /// For showing: one line in which each hidden character is told by its number, bounded.
    package static func visible(_ text: String, limit: Int = 300) -> String {
        if text.utf8.count <= limit, text.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) { return text }
        var result = ""
        for scalar in text.unicodeScalars {
            guard result.utf8.count < limit else { return result + "…" }
            if scalar.isHidden {
                result += "[U+" + padded(String(scalar.value, radix: 16, uppercase: true)) + "]"
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// An id of a stranger as a token of ASCII: itself where it is one, else a name made of its digest.
    package static func token(_ id: String) -> String {
        let isPlain = id.utf8.allSatisfy { character in
            switch character {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
        if isPlain, (1...64).contains(id.utf8.count) { return id }
        return "x-" + Hexadecimal.encode(Array(SHA256.hash(Array(id.utf8)).prefix(16)))
    }

    /// Some letters of a title for a path, after which people find a space; unique only with what stands before it.
    static func slug(_ title: String) -> String {
        var text = ""
        for character in title.utf8.prefix(400) {
            guard text.utf8.count < 32 else { break }
            switch character {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                text.unicodeScalars.append(Unicode.Scalar(character))
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): text.unicodeScalars.append(Unicode.Scalar(character | 0x20))
            default: if !text.isEmpty, text.last != "-" { text += "-" }
            }
        }
        while text.last == "-" { text.removeLast() }
        return text.isEmpty ? "space" : text
    }

    private static func trimmed(_ scalars: String.UnicodeScalarView) -> String {
        let isLoose = { (scalar: Unicode.Scalar) in scalar == "." || scalar.properties.isWhitespace }
        guard let first = scalars.firstIndex(where: { !isLoose($0) }),
            let last = scalars.lastIndex(where: { !isLoose($0) })
        else { return "" }
        return String(scalars[first...last])
    }

    /// Names that Windows keeps for devices, with any ending.
    private static func isReserved(_ name: String) -> Bool {
        let stem = name.prefix { $0 != "." }.uppercased()
        if ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"].contains(stem) { return true }
        guard stem.count == 4, stem.hasPrefix("COM") || stem.hasPrefix("LPT"), let number = stem.last else {
            return false
        }
        return "0123456789¹²³".contains(number)
    }

    private static func bounded(_ name: String) -> String {
        guard name.utf8.count > limit else { return name }
        var ending = ""
        if let dot = name.unicodeScalars.lastIndex(of: "."), name.utf8[dot...].count <= 16 {
            ending = String(name.unicodeScalars[dot...])
        }
        var stem = String.UnicodeScalarView()
        var count = ending.utf8.count
        for scalar in name.unicodeScalars {
            count += String(scalar).utf8.count
            guard count <= limit else { break }
            stem.append(scalar)
        }
        return String(stem) + ending
    }

    private static func padded(_ digits: String) -> String {
        String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits
    }
}
