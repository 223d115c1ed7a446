package import WireText

/// A file of test vectors of C2SP/wycheproof: groups of tests with an expected result.
package struct Wycheproof {
    package let name: String
    package let root: JSONNode

    package init(_ name: String) throws {
        self.name = name
        let limits = JSONDocument.Limits(maximumNodes: 1_000_000, maximumBytes: 1 << 24)
        root = try JSONDocument(SharedData.bytes(Self.path(name)), limits: limits).root
    }

    package static func isAvailable(_ name: String) -> Bool { SharedData.isAvailable(path(name)) }
    private static func path(_ name: String) -> String { "wycheproof/\(name)_test.json" }

    /// How many tests the file says that it holds.
    package var numberOfTests: Int { root["numberOfTests"]?.integer.map(Int.init) ?? -1 }
    package var groups: [JSONNode] { root["testGroups"]?.elements ?? [] }

    package struct Malformed: Error { package let member: String }
}

extension JSONNode {
    package var tests: [JSONNode] { self["tests"]?.elements ?? [] }
    package var id: String { "tcId \(self["tcId"]?.integer ?? -1) (\(self["comment"]?.string ?? ""))" }
    package var isValid: Bool { self["result"]?.string == "valid" }
    package var flags: [String] { self["flags"]?.strings ?? [] }

    package func hex(_ member: String) throws -> [UInt8] {
        guard let text = self[member]?.string, let bytes = Hexadecimal.decode(text) else {
            throw Wycheproof.Malformed(member: member)
        }
        return bytes
    }

    /// Base64url, as in a JWK.
    package func octets(_ member: String) throws -> [UInt8] {
        guard let text = self[member]?.string, let bytes = Base64URL.decode(text) else {
            throw Wycheproof.Malformed(member: member)
        }
        return bytes
    }

    package func number(_ member: String) throws -> Int {
        guard let number = self[member]?.integer else { throw Wycheproof.Malformed(member: member) }
        return Int(number)
    }
}
