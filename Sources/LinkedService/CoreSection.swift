import Diagnostics
package import ServiceRuntime
package import TLSChannel

/// The cloud core and what proves that it is the right one.
package struct CoreSection: Decodable, Sendable {
    /// `wss://HOST/link/v1`
    package let link: WebAddress
    /// PEM: the only certification authorities that are taken for the core.
    package let authorities: FileLocation
    /// `sha256/BASE64` of public keys, one of which must stand on the validated path, the present one first; none means:
    /// any path to `authorities`.
    package let pins: [String]
    /// Whether the service is ready while the core can not be reached.
    package let readyWithoutCore: Bool
    /// Nil: TLS to the core is opened by nobody between.
    package let inspection: InspectionSection?

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case link
        case authorities = "ca"
        case pins, inspection
        case readyWithoutCore = "ready-without-core"
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        link = try section.value(.link)
        authorities = try section.value(.authorities)
        pins = try section.value(.pins, default: [])
        readyWithoutCore = try section.value(.readyWithoutCore, default: false)
        inspection = try section.optional(.inspection)
        guard Set(pins).count == pins.count else { throw section.problem(.pins, "a pin stands there twice") }
        guard link.scheme == .wss else { throw section.problem(.link, "expected a wss:// address") }
    }
}

extension CoreSection {
    package func spkiPins() throws -> [SPKIPin] {
        try pins.map { text in
            guard let pin = SPKIPin(text) else {
                throw DiagnosedError(
                    "pin-malformed", fault: .configuration, "core.pins has an entry that is no pin",
                    expected: "sha256/ and 44 base64 characters", found: String(text.prefix(80)),
                    hint: "make one with: openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64")
            }
            return pin
        }
    }
}
