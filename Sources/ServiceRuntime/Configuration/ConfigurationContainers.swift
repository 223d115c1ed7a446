import Yams

extension ConfigurationDecoder {
    /// A mapping. `null` counts as absent, so that a key without a value takes its default.
    struct Keyed<Key: CodingKey>: KeyedDecodingContainerProtocol {
        let decoder: ConfigurationDecoder
        let values: [String: Node]

        var codingPath: [any CodingKey] { decoder.path }
        var allKeys: [Key] { values.keys.sorted().compactMap { Key(stringValue: $0) } }
        func contains(_ key: Key) -> Bool { values[key.stringValue] != nil }
        func decodeNil(forKey key: Key) throws -> Bool { values[key.stringValue].map(\.isNull) ?? true }

        private func child(_ key: Key) throws -> ConfigurationDecoder {
            guard let node = values[key.stringValue] else {
                let present = values.keys.sorted()
                throw ConfigurationFault(
                    problem: .init(
                        path: ConfigurationDecoder.text(decoder.path), line: decoder.node.mark?.line,
                        "the key \(key.stringValue) is missing", expected: "\(key.stringValue): ...",
                        found: present.isEmpty ? "no keys" : "the keys \(present.joined(separator: ", "))"))
            }
            return decoder.child(node, key)
        }

        func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
            try child(key).value(type)
        }
        func nestedContainer<Nested: CodingKey>(
            keyedBy type: Nested.Type, forKey key: Key
        ) throws -> KeyedDecodingContainer<Nested> {
            try child(key).container(keyedBy: type)
        }
        func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
            try child(key).unkeyedContainer()
        }
        func superDecoder() throws -> any Decoder { decoder }
        func superDecoder(forKey key: Key) throws -> any Decoder { try child(key) }
    }

    struct Unkeyed: UnkeyedDecodingContainer {
        let decoder: ConfigurationDecoder
        let elements: [Node]
        var currentIndex = 0

        var codingPath: [any CodingKey] { decoder.path }
        var count: Int? { elements.count }
        var isAtEnd: Bool { currentIndex >= elements.count }

        private mutating func next() throws -> ConfigurationDecoder {
            guard !isAtEnd else {
                throw decoder.fault("the list is too short", found: "\(elements.count) elements")
            }
            defer { currentIndex += 1 }
            return decoder.child(elements[currentIndex], IndexKey(currentIndex))
        }

        mutating func decodeNil() throws -> Bool {
            guard !isAtEnd, elements[currentIndex].isNull else { return false }
            currentIndex += 1
            return true
        }
        mutating func decode<Value: Decodable>(_ type: Value.Type) throws -> Value { try next().value(type) }
        mutating func nestedContainer<Nested: CodingKey>(
            keyedBy type: Nested.Type
        ) throws -> KeyedDecodingContainer<Nested> {
            try next().container(keyedBy: type)
        }
        mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
            try next().unkeyedContainer()
        }
        mutating func superDecoder() throws -> any Decoder { try next() }
    }

    struct Single: SingleValueDecodingContainer {
        let decoder: ConfigurationDecoder

        var codingPath: [any CodingKey] { decoder.path }
        func decodeNil() -> Bool { decoder.node.isNull }
        func decode<Value: Decodable>(_ type: Value.Type) throws -> Value { try decoder.value(type) }
    }
}

// MARK: - Values

private protocol FreelyKeyed {}
extension Dictionary: FreelyKeyed where Key == String {}

extension ConfigurationDecoder {
    /// Decodes scalars here, so that every message has a line, and leaves structures to their initialisers.
    func value<Value: Decodable>(_ type: Value.Type) throws -> Value {
        let made: Any? =
            switch type {
            case is String.Type: try text()
            case is Bool.Type: try flag()
            case is Double.Type: try decimal()
            case is Duration.Type: try parsed(Duration.self)
            case let integer as any FixedWidthInteger.Type: try whole(integer)
            case let setting as any ConfigurationValue.Type: try parsed(setting)
            case let name as any NamedValue.Type: try choice(name)
            default: nil
            }
        if let value = made as? Value { return value }
        var inner = self
        inner.acceptsAnyKey = type is any FreelyKeyed.Type
        return try Value(from: inner)
    }

    private func scalar(_ expected: String) throws -> Node.Scalar {
        guard case .scalar(let scalar) = node, !scalar.isNull else {
            throw fault("a value of another kind is needed", expected: expected, found: node.kindName)
        }
        return scalar
    }

    private func text() throws -> String {
        let scalar = try scalar("a text")
        guard !scalar.string.isEmpty else { throw fault("the text is empty", expected: "a text") }
        return scalar.string
    }

    private func flag() throws -> Bool {
        let scalar = try scalar("true or false")
        switch scalar.string {
        case "true" where scalar.isPlain: return true
        case "false" where scalar.isPlain: return false
        default:
            throw fault("a value of another kind is needed", expected: "true or false", found: scalar.quoted)
        }
    }

    private func whole<Integer: FixedWidthInteger>(_ type: Integer.Type) throws -> Integer {
        let scalar = try scalar("a whole number")
        let digits = scalar.string.replacing("_", with: "")
        let isNumber = !digits.isEmpty && digits.drop { $0 == "-" }.utf8.allSatisfy { (0x30...0x39).contains($0) }
        guard scalar.isPlain, isNumber else {
            throw fault(
                "a value of another kind is needed", expected: "a whole number", found: scalar.quoted,
                hint: scalar.isPlain ? nil : "remove the quotes")
        }
        guard let number = Integer(digits) else {
            throw fault(
                "the number is out of range", expected: "\(Integer.min) to \(Integer.max)", found: scalar.quoted)
        }
        return number
    }

    private func decimal() throws -> Double {
        let scalar = try scalar("a number")
        guard scalar.isPlain, let number = Double(scalar.string), number.isFinite else {
            throw fault("a value of another kind is needed", expected: "a number", found: scalar.quoted)
        }
        return number
    }

    private func parsed<Setting: ConfigurationValue>(_ type: Setting.Type) throws -> Setting {
        let scalar = try scalar(Setting.expectation)
        guard let setting = Setting(configurationText: scalar.string, folder: reading.folder) else {
            throw fault("the value can not be used", expected: Setting.expectation, found: scalar.quoted)
        }
        return setting
    }

    private func choice<Name: NamedValue>(_ type: Name.Type) throws -> Name {
        let names = type.allCases.map(\.rawValue)
        let expected = "one of \(names.joined(separator: ", "))"
        let scalar = try scalar(expected)
        guard let name = Name(rawValue: scalar.string) else {
            throw fault(
                "the value is not known", expected: expected, found: scalar.quoted,
                hint: NearestName.of(scalar.string, among: names).map { "did you mean \($0)?" })
        }
        return name
    }
}

/// A setting with a closed set of values: an enumeration of texts that lists its cases.
package protocol NamedValue: RawRepresentable, CaseIterable, Decodable where RawValue == String {}
