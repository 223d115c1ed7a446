// How the initialiser of a section reads its keys. `value` without a default is a key that has to be there; a key
// that is present without a value counts as absent.
extension KeyedDecodingContainer {
    package func value<Value: Decodable>(_ key: Key) throws -> Value { try decode(Value.self, forKey: key) }

    package func value<Value: Decodable>(_ key: Key, default fallback: @autoclosure () -> Value) throws -> Value {
        try optional(key) ?? fallback()
    }

    /// Nil when the key is absent.
    package func optional<Value: Decodable>(_ key: Key) throws -> Value? {
        guard contains(key), try !decodeNil(forKey: key) else { return nil }
        return try decode(Value.self, forKey: key)
    }

    package func value<Value: Decodable & Comparable>(
        _ key: Key, default fallback: @autoclosure () -> Value, in range: ClosedRange<Value>
    ) throws -> Value {
        guard let value: Value = try optional(key) else { return fallback() }
        return try checked(value, key, range)
    }

    package func value<Value: Decodable & Comparable>(_ key: Key, in range: ClosedRange<Value>) throws -> Value {
        try checked(value(key), key, range)
    }

    private func checked<Value: Comparable>(_ value: Value, _ key: Key, _ range: ClosedRange<Value>) throws -> Value {
        guard range.contains(value) else {
            throw problem(key, "the value is out of range: expected \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    /// A problem with the value of this key, for checks of a section's own; the message gets path and line.
    package func problem(_ key: Key, _ summary: String) -> DecodingError {
        .dataCorruptedError(forKey: key, in: self, debugDescription: summary)
    }
}
