/// Text that may stand in a log, a status line or an alarm: the only type from which their values are made.
///
/// A bare `String` can not become one by accident. What can: a literal in the source, a number, a flag, a case of a
/// closed enumeration, the description of a `DiagnosedError`, and text that somebody looked at and passed as
/// `reviewed:` (a search for that word lists every such place). User and object identifiers go in as pseudonyms.
/// ```swift
/// let detail: Loggable = "\(count) requests wait for \(reviewed: host)"
/// ```
package struct Loggable: Sendable, Hashable {
    package let text: String

    /// Text that the caller has judged: a host name, a file path, a pseudonym, a public URI. Never a secret, a bearer
    /// token, plaintext or an identifier of a person in clear.
    package init(reviewed text: String) { self.text = text }
    package init(_ number: some BinaryInteger) { text = String(number) }
    /// For most callers: what is generic is not specialised across modules.
    package init(_ number: Int) { text = String(number) }
    package init(_ number: Int64) { text = String(number) }
    package init(_ flag: Bool) { text = flag ? "true" : "false" }
    /// A case of a closed set: its raw value is known when the program is built.
    package init<Name: RawRepresentable & CaseIterable>(_ name: Name) where Name.RawValue == String {
        text = name.rawValue
    }
    package init(_ error: DiagnosedError) { text = error.description }
    package init(_ secret: Redacted<some Any>) { text = secret.description }
    /// An error of whatever origin: a diagnosed one in full, of any other only its type, for what a library puts
    /// into its errors nobody here has reviewed.
    package init(error: any Error) {
        if let diagnosed = error as? DiagnosedError {
            text = diagnosed.description
        } else {
            text = "an error of type \(type(of: error)) without a diagnosis"
        }
    }
}

extension Loggable: CustomStringConvertible {
    package var description: String { text }
}

extension Loggable: ExpressibleByStringInterpolation {
    package init(stringLiteral value: String) { text = value }
    package init(stringInterpolation: Interpolation) { text = stringInterpolation.text }

    /// Accepts what `Loggable` has an initialiser for and nothing else: a bare `String` does not compile.
    package struct Interpolation: StringInterpolationProtocol {
        var text = ""

        package init(literalCapacity: Int, interpolationCount: Int) {
            text.reserveCapacity(literalCapacity + interpolationCount * 8)
        }
        package mutating func appendLiteral(_ literal: String) { text += literal }
        package mutating func appendInterpolation(_ value: Loggable) { text += value.text }
        package mutating func appendInterpolation(_ number: some BinaryInteger) { text += String(number) }
        package mutating func appendInterpolation(_ flag: Bool) { text += flag ? "true" : "false" }
        package mutating func appendInterpolation<Name: RawRepresentable & CaseIterable>(_ name: Name)
        where Name.RawValue == String {
            text += name.rawValue
        }
        package mutating func appendInterpolation(_ error: DiagnosedError) { text += error.description }
        package mutating func appendInterpolation(_ secret: Redacted<some Any>) { text += secret.description }
        package mutating func appendInterpolation(reviewed value: String) { text += value }
    }
}

/// A value that prints as `[redacted]` wherever it goes: descriptions, interpolation, dumps and mirrors.
///
/// For texts that have to be carried but never shown, such as a bearer token on its way to a header. Key bytes have
/// stricter types in `SecretMemory`; this one neither wipes nor locks.
package struct Redacted<Value> {
    private let value: Value

    package init(_ value: Value) { self.value = value }

    /// The only way to the value; a search for `reveal` lists every place that takes one out.
    package func reveal<Result>(_ body: (Value) throws -> Result) rethrows -> Result { try body(value) }
}

extension Redacted: Sendable where Value: Sendable {}

extension Redacted: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { "[redacted]" }
    package var debugDescription: String { "[redacted]" }
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}
