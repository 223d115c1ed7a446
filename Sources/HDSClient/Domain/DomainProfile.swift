package import Cryptography
package import Diagnostics
package import KMSClient
package import TLSChannel
package import WireText

/// Everything about a domain that a client believes without asking the cloud: its servers, their certificates, its KMS.
///
/// Pinned at first contact (security model, rule 4), from a file that the administrator hands out or after the user
/// compared fingerprints. A later change is refused with both values, see `DomainPins`.
package struct DomainProfile: Sendable, Equatable {
    /// Domain of the e-mail addresses, lower case.
    package var domain: String
    /// Base URL of the authorization service, which is also its issuer name.
    package var issuer: String
    package var issuerTrust: ServerTrust
    /// Base URL of the core.
    package var core: String
    package var coreTrust: ServerTrust
    /// `kms://HOST`
    package var kmsCluster: String
    package var kmsRoots: [Certificate]
    /// Name of this client at the authorization service.
    package var clientID: String
    /// Hosts that may stand in the join details of meetings, `HOST` or `HOST:PORT`; empty: the core's alone.
    package var joinHosts: [String]
    /// Whether sessions with the KMS are agreed with ML-KEM-768 beside P-256.
    package var postQuantum: PostQuantumUse

    package static let defaultClientID = "hds-cli"

    package init(
        domain: String, issuer: String, issuerTrust: ServerTrust, core: String, coreTrust: ServerTrust,
        kmsCluster: String, kmsRoots: [Certificate], clientID: String = DomainProfile.defaultClientID,
        joinHosts: [String] = [], postQuantum: PostQuantumUse = .preferred
    ) throws(DiagnosedError) {
        self.domain = domain.lowercased()
        self.issuer = issuer
        self.issuerTrust = issuerTrust
        self.core = core.hasSuffix("/") ? String(core.dropLast()) : core
        self.coreTrust = coreTrust
        self.kmsCluster = kmsCluster
        self.kmsRoots = kmsRoots
        self.clientID = clientID
        self.joinHosts = joinHosts
        self.postQuantum = postQuantum
        try check()
    }

    private func check() throws(DiagnosedError) {
        guard Self.isDomain(domain) else { throw Self.invalid("domain", expected: "a DNS name", found: domain) }
        for (name, text) in [("issuer", issuer), ("core", core)] {
            guard let address = WebAddress(text), address.scheme == .https || address.scheme == .http,
                address.isPrivate,
                address.query == nil
            else {
                throw Self.invalid(name, expected: "an https URL (http only on this machine)", found: text.loggable)
            }
        }
        guard kmsCluster.hasPrefix("kms://"), Self.isDomain(String(kmsCluster.dropFirst(6))) else {
            throw Self.invalid("kmsCluster", expected: "kms://HOST", found: kmsCluster.loggable)
        }
        guard !kmsRoots.isEmpty else {
            throw Self.invalid("kmsRoots", expected: "at least one certificate", found: nil)
        }
        guard !clientID.isEmpty, clientID.utf8.count <= 256 else {
            throw Self.invalid("clientId", expected: "a name", found: nil)
        }
        guard joinHosts.count <= 100 else { throw Self.invalid("joinHosts", expected: "at most 100 hosts", found: nil) }
        for entry in joinHosts {
            guard let address = WebAddress("https://" + entry), address.path == "/", address.query == nil,
                entry == address.host || entry == "\(address.host):\(address.port)"
            else { throw Self.invalid("joinHosts", expected: "HOST or HOST:PORT in lower case", found: entry.loggable) }
        }
    }

    static func isDomain(_ text: String) -> Bool {
        let labels = text.split(separator: ".", omittingEmptySubsequences: false)
        return text.utf8.count <= 253 && labels.count > 1
            && labels.allSatisfy { label in
                !label.isEmpty && label.utf8.count <= 63 && label.first != "-" && label.last != "-"
                    && label.utf8.allSatisfy { byte in
                        (byte >= 0x61 && byte <= 0x7A) || (byte >= 0x30 && byte <= 0x39) || byte == 0x2D
                    }
            }
    }

    static func invalid(_ name: String, expected: String, found: String?) -> DiagnosedError {
        DiagnosedError(
            .profileInvalid, fault: .configuration, "'\(name)' of the domain profile can not be used",
            expected: expected, found: found, hint: "ask the administrator of the domain for its profile file")
    }
}

/// Which certificates a server may show.
package struct ServerTrust: Sendable, Equatable {
    /// Empty: the roots of the operating system.
    package var roots: [Certificate]
    /// At least one certificate of the validated path must have one of these keys; empty: any.
    package var pins: [SPKIPin]

    package init(roots: [Certificate], pins: [SPKIPin] = []) {
        self.roots = roots
        self.pins = pins
    }
}

// The file form, JSON: members `domain`, `issuer`, `issuerRoots`, `issuerPins`, `core`, `coreRoots`, `corePins`,
// `kmsCluster`, `kmsRoots`, `clientId`, `joinHosts`, `postQuantum` (off, prefer, require). Roots are lists of PEM texts, or the text "system".
extension DomainProfile {
    package init(json: [UInt8]) throws(DiagnosedError) {
        let root: JSONNode
        do {
            root = try JSONDocument(json, limits: .init(maximumDepth: 4, maximumNodes: 1000)).root
        } catch {
            throw DiagnosedError(
                .profileInvalid, fault: .configuration, "the domain profile is not JSON", found: error.summary)
        }
        try self.init(root)
    }

    package init(_ root: JSONNode) throws(DiagnosedError) {
        let known: Set<String> = [
            "domain", "issuer", "issuerRoots", "issuerPins", "core", "coreRoots", "corePins", "kmsCluster", "kmsRoots",
            "clientId", "joinHosts", "postQuantum",
        ]
        guard let members = root.members else {
            throw DiagnosedError(.profileInvalid, fault: .configuration, "the domain profile is no JSON object")
        }
        for (name, _) in members where !known.contains(name) {
            throw Self.invalid(name.loggable, expected: "only " + known.sorted().joined(separator: ", "), found: nil)
        }
        func text(_ name: String) throws(DiagnosedError) -> String {
            guard let text = root[name]?.string else { throw Self.invalid(name, expected: "a text", found: "none") }
            return text
        }
        func certificates(_ name: String) throws(DiagnosedError) -> [Certificate] {
            if root[name]?.string == "system" { return [] }
            guard let texts = root[name]?.strings, !texts.isEmpty else {
                throw Self.invalid(name, expected: "a list of certificates in PEM form, or \"system\"", found: "none")
            }
            return try Self.certificates(texts, name)
        }
        func pins(_ name: String) throws(DiagnosedError) -> [SPKIPin] {
            guard let node = root[name] else { return [] }
            guard let texts = node.strings else { throw Self.invalid(name, expected: "a list of pins", found: nil) }
            var result: [SPKIPin] = []
            for text in texts {
                guard let pin = SPKIPin(text) else {
                    throw Self.invalid(name, expected: "sha256/BASE64", found: text.loggable)
                }
                result.append(pin)
            }
            return result
        }
        guard let kmsRoots = root["kmsRoots"]?.strings else {
            throw Self.invalid("kmsRoots", expected: "a list of certificates in PEM form", found: nil)
        }
        var hosts: [String] {
            get throws(DiagnosedError) {
                guard let node = root["joinHosts"] else { return [] }
                guard let texts = node.strings else {
                    throw Self.invalid("joinHosts", expected: "a list of hosts", found: nil)
                }
                return texts
            }
        }
        var postQuantum: PostQuantumUse {
            get throws(DiagnosedError) {
                guard let node = root["postQuantum"] else { return .preferred }
                guard let use = node.string.flatMap(PostQuantumUse.init(rawValue:)) else {
                    throw Self.invalid(
                        "postQuantum", expected: PostQuantumUse.allCases.map(\.rawValue).joined(separator: ", "),
                        found: node.string?.loggable)
                }
                return use
            }
        }
        try self.init(
            domain: try text("domain"), issuer: try text("issuer"),
            issuerTrust: ServerTrust(roots: try certificates("issuerRoots"), pins: try pins("issuerPins")),
            core: try text("core"),
            coreTrust: ServerTrust(roots: try certificates("coreRoots"), pins: try pins("corePins")),
            kmsCluster: try text("kmsCluster"), kmsRoots: try Self.certificates(kmsRoots, "kmsRoots"),
            clientID: root["clientId"]?.string ?? Self.defaultClientID, joinHosts: try hosts,
            postQuantum: try postQuantum)
    }

    static func certificates(_ texts: [String], _ name: String) throws(DiagnosedError) -> [Certificate] {
        var result: [Certificate] = []
        for text in texts {
            do {
                result += try Certificate.all(inPEM: text)
            } catch {
                throw invalid(name, expected: "certificates in PEM form", found: (error as? DiagnosedError)?.summary)
            }
        }
        guard !result.isEmpty else { throw invalid(name, expected: "at least one certificate", found: "none") }
        return result
    }

    package func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("domain", domain)
        json.member("issuer", issuer)
        Self.write(issuerTrust, "issuer", to: &json)
        json.member("core", core)
        Self.write(coreTrust, "core", to: &json)
        json.member("kmsCluster", kmsCluster)
        json.member("kmsRoots", kmsRoots.map(\.pem))
        json.member("clientId", clientID)
        if postQuantum != .preferred { json.member("postQuantum", postQuantum.rawValue) }
        if !joinHosts.isEmpty { json.member("joinHosts", joinHosts) }
        json.endObject()
    }

    private static func write(_ trust: ServerTrust, _ name: String, to json: inout JSONWriter) {
        if trust.roots.isEmpty {
            json.member(name + "Roots", "system")
        } else {
            json.member(name + "Roots", trust.roots.map(\.pem))
        }
        if !trust.pins.isEmpty { json.member(name + "Pins", trust.pins.map(\.text)) }
    }
}
