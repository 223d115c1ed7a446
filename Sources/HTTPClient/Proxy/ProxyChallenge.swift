/// One challenge of a proxy: a scheme with its parameters (RFC 9110 sections 11.2 and 11.3).
struct ProxyChallenge: Equatable {
    /// Lower case.
    var scheme: String
    /// Names in lower case, values unquoted.
    var parameters: [String: String] = [:]

    subscript(name: String) -> String? { parameters[name] }

    /// The challenges of one `Proxy-Authenticate` field; what can not be read ends the list.
    static func all(in field: String) -> [ProxyChallenge] {
        var reader = Reader(rest: Array(field.utf8)[...])
        var challenges: [ProxyChallenge] = []
        reader.skipSeparators()
        while let word = reader.token() {
            let hadSpace = reader.skipSpaces()
            if reader.take(UInt8(ascii: "=")) {
                guard !challenges.isEmpty, let value = reader.value() else { return challenges }
                // A name that comes twice has no meaning (RFC 9110 section 11.2): the first one counts.
                let name = word.lowercased()
                if challenges[challenges.count - 1].parameters[name] == nil {
                    challenges[challenges.count - 1].parameters[name] = value
                }
            } else {
                challenges.append(ProxyChallenge(scheme: word.lowercased()))
                if hadSpace { reader.skipToken68() }
            }
            reader.skipSeparators()
        }
        return challenges
    }

    /// The parameters of a `Proxy-Authentication-Info` field (RFC 7615).
    static func parameters(of field: String) -> [String: String] {
        all(in: "info " + field).first?.parameters ?? [:]
    }

    /// A text between quotation marks, with what would end it escaped.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            if scalar == "\"" || scalar == "\\" { result.unicodeScalars.append("\\") }
            result.unicodeScalars.append(scalar)
        }
        return result + "\""
    }

    private struct Reader {
        var rest: ArraySlice<UInt8>

        mutating func take(_ octet: UInt8) -> Bool {
            guard rest.first == octet else { return false }
            rest.removeFirst()
            return true
        }

        @discardableResult
        mutating func skipSpaces() -> Bool {
            let before = rest.count
            rest = rest.drop { $0 == 0x20 || $0 == 0x09 }
            return rest.count != before
        }

        mutating func skipSeparators() {
            rest = rest.drop { $0 == 0x20 || $0 == 0x09 || $0 == UInt8(ascii: ",") }
        }

        mutating func token() -> String? {
            let token = rest.prefix(while: PreparedRequest.isTokenOctet)
            guard !token.isEmpty else { return nil }
            rest = rest.dropFirst(token.count)
            return String(decoding: token, as: UTF8.self)
        }

        /// What some schemes have in the place of parameters, such as `Negotiate YII=`.
        mutating func skipToken68() {
            let others = Set("-._~+/".utf8)
            let isToken68: (UInt8) -> Bool = {
                PreparedRequest.isTokenOctet($0) && (others.contains($0) || !"!#$%&'*^`|".utf8.contains($0))
                    || $0 == UInt8(ascii: "/")
            }
            let word = rest.prefix(while: isToken68)
            let padding = rest.dropFirst(word.count).prefix { $0 == UInt8(ascii: "=") }
            let after = rest.dropFirst(word.count + padding.count).drop { $0 == 0x20 || $0 == 0x09 }
            guard !word.isEmpty, after.isEmpty || after.first == UInt8(ascii: ",") else { return }
            rest = after
        }

        mutating func value() -> String? {
            skipSpaces()
            guard take(UInt8(ascii: "\"")) else { return token() }
            var octets: [UInt8] = []
            while let octet = rest.popFirst() {
                switch octet {
                case UInt8(ascii: "\""): return String(decoding: octets, as: UTF8.self)
                case UInt8(ascii: "\\"):
                    guard let escaped = rest.popFirst() else { return nil }
                    octets.append(escaped)
                default: octets.append(octet)
                }
            }
            return nil
        }
    }
}
