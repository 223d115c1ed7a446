/// Parameters of a query or a body in `application/x-www-form-urlencoded`, as OAuth reads them.
///
/// Strict: a broken percent sequence, text that is not UTF-8, a NUL or too many parameters refuse the whole. By RFC 6749,
/// section 3.1, an empty value counts as absent, and a parameter given twice is an error, which shows when it is read.
package struct FormParameters: Sendable {
    package struct Malformed: Error, Equatable {
        package let reason: String
    }
    /// This parameter came more than once.
    package struct Repeated: Error, Equatable {
        package let name: String

        package init(name: String) { self.name = name }
    }

    private var pairs: [(name: String, value: String)] = []

    static let maximumCount = 64

    package init() {}

    package init(parsing bytes: some Collection<UInt8>) throws(Malformed) {
        for part in bytes.split(separator: UInt8(ascii: "&")) {
            guard pairs.count < Self.maximumCount else {
                throw Malformed(reason: "more than \(Self.maximumCount) parameters")
            }
            let equals = part.firstIndex(of: UInt8(ascii: "="))
            let name = try Self.decode(part[..<(equals ?? part.endIndex)])
            let value = try equals.map { index throws(Malformed) in
                try Self.decode(part[part.index(after: index)...])
            }
            pairs.append((name, value ?? ""))
        }
    }

    /// The value of a parameter; nil when it is absent or empty.
    package func value(_ name: String) throws(Repeated) -> String? {
        var found: String?
        for pair in pairs where pair.name == name {
            guard found == nil else { throw Repeated(name: name) }
            found = pair.value
        }
        return found?.isEmpty == true ? nil : found
    }

    /// One form-encoded text; nil when it is malformed.
    static func decoded(_ bytes: some Collection<UInt8>) -> String? { try? decode(bytes) }

    private static func decode(_ bytes: some Collection<UInt8>) throws(Malformed) -> String {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var iterator = bytes.makeIterator()
        while let byte = iterator.next() {
            switch byte {
            case UInt8(ascii: "+"): result.append(0x20)
            case UInt8(ascii: "%"):
                guard let high = iterator.next().flatMap(hexadecimal), let low = iterator.next().flatMap(hexadecimal)
                else { throw Malformed(reason: "a percent sign without two hexadecimal digits") }
                result.append(high << 4 | low)
            default: result.append(byte)
            }
        }
        guard let text = String(validating: result, as: UTF8.self) else { throw Malformed(reason: "not UTF-8") }
        guard !result.contains(0) else { throw Malformed(reason: "a NUL character") }
        return text
    }

    private static func hexadecimal(_ character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    /// `name=value&…` with everything but unreserved characters (RFC 3986, section 2.3) percent-encoded.
    package static func encode(_ parameters: [(name: String, value: String)]) -> String {
        parameters.map { encode($0.name) + "=" + encode($0.value) }.joined(separator: "&")
    }

    private static func encode(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var result: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                result.append(byte)
            default: result += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}
