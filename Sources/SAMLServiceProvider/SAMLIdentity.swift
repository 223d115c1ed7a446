package import WireText

/// Who signed in at the provider, as the assertion says.
package struct SAMLIdentity: Sendable, Equatable {
    /// Stable at this provider.
    package let subject: String
    /// What a logout of the provider names.
    package let nameID: SAMLNameID
    package let address: String?
    package let name: String?
    /// `SessionIndex`.
    package let session: String?
    /// Of the assertion: counts once.
    package let assertionID: String
    /// Until then its id has to be kept.
    package let assertionExpires: Timestamp
}

/// A name identifier as it came, for a logout request that has to name it the same way.
package struct SAMLNameID: Sendable, Equatable {
    package let value: String
    package let format: String?
    package let qualifier: String?
    package let serviceQualifier: String?

    static let longest = 255

    package init(value: String, format: String? = nil, qualifier: String? = nil, serviceQualifier: String? = nil) {
        self.value = value
        self.format = format
        self.qualifier = qualifier
        self.serviceQualifier = serviceQualifier
    }

    /// Nil for an element that has other things than text, or too much of it.
    init?(_ element: XMLElement) {
        guard element.name == .assertion("NameID"), let value = element.plainText,
            (1...Self.longest).contains(value.utf8.count), value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F })
        else { return nil }
        self.init(
            value: value, format: element[attribute: "Format"], qualifier: element[attribute: "NameQualifier"],
            serviceQualifier: element[attribute: "SPNameQualifier"])
    }

    /// One text of all of it.
    package var stored: String {
        [value, format ?? "", qualifier ?? "", serviceQualifier ?? ""].joined(separator: "\n")
    }

    package init?(stored: String) {
        let parts = stored.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 4, !parts[0].isEmpty else { return nil }
        func part(_ index: Int) -> String? { parts[index].isEmpty ? nil : parts[index] }
        self.init(value: parts[0], format: part(1), qualifier: part(2), serviceQualifier: part(3))
    }
}
