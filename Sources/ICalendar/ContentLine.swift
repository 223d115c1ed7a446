package import Diagnostics

/// One content line (RFC 5545, section 3.1): the octets as they came, and what they say.
package struct ContentLine: Sendable, Equatable {
    /// A parameter (section 3.2), its values without quotes and with the escapes of RFC 6868 undone.
    package struct Parameter: Sendable, Equatable {
        /// In capitals.
        package let name: String
        package let values: [String]

        package init(_ name: String, _ values: [String]) {
            self.name = name.uppercased()
            self.values = values
        }
    }

    /// With folds and the line's end, exactly as read or as written.
    package let octets: [UInt8]
    /// In capitals.
    package let name: String
    package let parameters: [Parameter]
    /// Unfolded, still escaped. Octets that are no UTF-8 read as U+FFFD here; `octets` has them as they came.
    package let value: String

    /// The values of a parameter, none when it is absent.
    package func values(of parameter: String) -> [String] {
        parameters.first { $0.name == parameter.uppercased() }?.values ?? []
    }

    /// Reads one logical line.
    /// - Parameter number: of the first physical line, for the error.
    /// - Throws: `calendar-malformed`.
    init(reading octets: [UInt8], number: Int) throws(DiagnosedError) {
        let line = Self.unfolded(octets)
        var rest = line[...]
        name = try Self.name(from: &rest, number)
        var parameters: [Parameter] = []
        while rest.first == UInt8(ascii: ";") {
            rest.removeFirst()
            let name = try Self.name(from: &rest, number)
            guard rest.popFirst() == UInt8(ascii: "=") else {
                throw .malformed(line: number, expected: "'=' after the name of a parameter")
            }
            var values = [try Self.parameterValue(from: &rest, number)]
            while rest.first == UInt8(ascii: ",") {
                rest.removeFirst()
                values.append(try Self.parameterValue(from: &rest, number))
            }
            parameters.append(Parameter(name, values))
        }
        guard rest.popFirst() == UInt8(ascii: ":") else {
            throw .malformed(line: number, expected: "':' before the value")
        }
        self.parameters = parameters
        value = String(decoding: rest, as: UTF8.self)
        self.octets = octets
    }

    /// Writes a line, folded at 75 octets and never inside a UTF-8 character.
    /// - Parameters:
    ///   - value: escaped as its type wants.
    ///   - end: CRLF or LF, as the document has it.
    /// - Throws: `calendar-edit-refused` for names and values that would break the line.
    package init(
        _ name: String, _ parameters: [Parameter] = [], value: String, end: [UInt8] = [13, 10]
    ) throws(DiagnosedError) {
        let names = [name] + parameters.map(\.name)
        guard names.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy(Self.isName) }) else {
            throw .refused("name of a property or parameter refused", expected: "letters, digits and hyphens")
        }
        guard (parameters.flatMap(\.values) + [value]).allSatisfy(Self.isPlain) else {
            throw .refused("value of a property refused", expected: "a value without control characters")
        }
        var text = name.uppercased()
        for parameter in parameters {
            text += ";\(parameter.name)=" + parameter.values.map(Self.quoted).joined(separator: ",")
        }
        text += ":" + value
        self.name = name.uppercased()
        self.parameters = parameters
        self.value = value
        octets = Self.folded(Array(text.utf8), end: end)
    }

    /// The same line with another value: name and parameters keep their octets, as does what the value keeps.
    /// - Throws: `calendar-edit-refused` for a line that is no UTF-8, and for a value with a line end.
    func withValue(_ value: String, end: [UInt8]) throws(DiagnosedError) -> ContentLine {
        let line = Self.unfolded(octets)
        guard String(validating: line, as: UTF8.self) != nil else {
            throw .refused("line would lose octets that are no UTF-8", expected: "a line in UTF-8")
        }
        guard !value.utf8.contains(10) else {
            throw .refused("value of a property refused", expected: "a value without line ends")
        }
        let head = line.dropLast(self.value.utf8.count)
        return try ContentLine(reading: Self.folded(head + Array(value.utf8), end: end), number: 0)
    }

    /// Without folds and the end of the line.
    package static func unfolded(_ octets: [UInt8]) -> [UInt8] {
        var line: [UInt8] = []
        line.reserveCapacity(octets.count)
        var index = 0
        while index < octets.count {
            let octet = octets[index]
            if octet == 10 {
                if line.last == 13 { line.removeLast() }
                // The line's end, or its end and the one white space that makes the fold.
                index += 2
            } else {
                line.append(octet)
                index += 1
            }
        }
        return line
    }

    /// The octets of an unfolded line, folded at 75 and never inside a UTF-8 character.
    package static func folded(_ line: [UInt8], end: [UInt8] = [13, 10]) -> [UInt8] {
        var octets: [UInt8] = []
        var start = 0
        var room = 75
        while line.count - start > room {
            var cut = start + room
            while line[cut] & 0xC0 == 0x80 { cut -= 1 }
            octets += line[start..<cut] + end + [32]
            start = cut
            room = 74
        }
        return octets + line[start...] + end
    }

    private static func name(from rest: inout ArraySlice<UInt8>, _ number: Int) throws(DiagnosedError) -> String {
        let name = rest.prefix(while: isName)
        guard !name.isEmpty else { throw .malformed(line: number, expected: "a name of letters, digits and hyphens") }
        rest = rest.dropFirst(name.count)
        return String(decoding: name, as: UTF8.self).uppercased()
    }

    private static func parameterValue(
        from rest: inout ArraySlice<UInt8>, _ number: Int
    ) throws(DiagnosedError) -> String {
        let isQuoted = rest.first == UInt8(ascii: "\"")
        if isQuoted { rest.removeFirst() }
        let value = rest.prefix { octet in
            octet != UInt8(ascii: "\"") && (isQuoted || !isSeparator(octet))
        }
        rest = rest.dropFirst(value.count)
        if isQuoted, rest.popFirst() == nil { throw .malformed(line: number, expected: "a closing quote") }
        return uncareted(String(decoding: value, as: UTF8.self))
    }

    private static func isName(_ octet: UInt8) -> Bool {
        switch octet {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    private static func isSeparator(_ octet: UInt8) -> Bool {
        octet == UInt8(ascii: ",") || octet == UInt8(ascii: ";") || octet == UInt8(ascii: ":")
    }

    /// Without control characters other than the tab, as section 3.1 wants values.
    private static func isPlain(_ value: String) -> Bool {
        value.utf8.allSatisfy { $0 >= 32 && $0 != 127 || $0 == 9 }
    }

    /// RFC 6868: `^` as `^^`, `"` as `^'`; in quotes where a separator stands inside.
    private static func quoted(_ value: String) -> String {
        let escaped = value.replacing("^", with: "^^").replacing("\"", with: "^'")
        return escaped.utf8.contains(where: isSeparator) ? "\"\(escaped)\"" : escaped
    }

    private static func uncareted(_ value: String) -> String {
        guard value.utf8.contains(UInt8(ascii: "^")) else { return value }
        var text = String.UnicodeScalarView()
        var scalars = value.unicodeScalars.makeIterator()
        while let scalar = scalars.next() {
            guard scalar == "^" else {
                text.append(scalar)
                continue
            }
            switch scalars.next() {
            case "^": text.append("^")
            case "'": text.append("\"")
            case "n": text.append("\n")
            case let other?:
                text.append("^")
                text.append(other)
            case nil: text.append("^")
            }
        }
        return String(text)
    }
}
