package import Cryptography
package import Diagnostics
import JOSESignature
package import WireText

/// A person whose signature counts: name, public key, and for what.
package struct Officer: Sendable, Equatable {
    /// What an officer may sign for.
    package enum Duty: String, Sendable, CaseIterable {
        /// The policy itself.
        case policy
        /// Stopping and releasing key release.
        case freeze
        case erasure
        /// To confirm, as the second, what another officer asks for.
        case fourEyes = "four-eyes"
        case compliance
        /// Which nodes the cluster has.
        case cluster
    }

    /// Unique among the enrolled; stands in audit records.
    package let id: String
    package let name: String
    package let publicKey: PublicKey
    /// The key's RFC 7638 thumbprint.
    package let kid: String
    package let duties: Set<Duty>

    package init(id: String, name: String, publicKey: PublicKey, duties: Set<Duty>) throws(DiagnosedError) {
        guard let kid = JWK.thumbprint(of: publicKey) else {
            throw .policy(
                .officersMalformed, "an officer's key is of a kind that is not used", expected: "P-256 or RSA")
        }
        guard PolicyPlace.isName(id), id.utf8.count <= 64 else {
            throw .policy(
                .officersMalformed, "an officer's id can not be used",
                expected: "lower-case letters, digits and hyphens", found: id.quotedForError)
        }
        guard !name.isEmpty, name.utf8.count <= PolicyPlace.maximumText, PolicyPlace.isPlain(name) else {
            throw .policy(.officersMalformed, "the name of the officer \(id) can not be used", expected: "a plain text")
        }
        self.id = id
        self.name = name
        self.publicKey = publicKey
        self.kid = kid
        self.duties = duties
    }

    /// The signature algorithm of the key.
    package static func algorithm(of key: PublicKey) -> SignatureAlgorithm { key.kind == .p256 ? .es256 : .ps256 }
    package static let algorithms: Set<SignatureAlgorithm> = [.es256, .ps256]

    /// The public JWK to enrol, with the members that say who it is.
    package func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("id", id)
        json.member("name", name)
        json.member("duties", Duty.allCases.filter(duties.contains).map(\.rawValue))
        json.name("key")
        JWK(publicKey: publicKey, kid: kid, use: "sig", alg: Self.algorithm(of: publicKey).rawValue).write(to: &json)
        json.endObject()
    }
}

/// The enrolled officers: the file that the KMS's own configuration names, and nothing else, says whose signatures count.
///
/// ```json
/// {"officers": [{"id": "ada", "name": "Ada Example", "duties": ["policy", "four-eyes"],
///                "key": {"kty": "EC", "crv": "P-256", "x": "…", "y": "…", "kid": "…"}}]}
/// ```
package struct OfficerRoster: Sendable, Equatable {
    package let officers: [Officer]

    package static let maximumOfficers = 100
    package static let maximumBytes = 512 << 10

    /// Nobody is enrolled: no signature counts.
    package static let empty = OfficerRoster(unchecked: [])
    private init(unchecked officers: [Officer]) { self.officers = officers }

    package init(_ officers: [Officer]) throws(DiagnosedError) {
        for (index, officer) in officers.enumerated() {
            for other in officers[..<index] where other.id == officer.id || other.kid == officer.kid {
                throw .policy(
                    .officersMalformed,
                    other.id == officer.id ? "two officers have one id" : "two officers have one key",
                    found: "\(other.id) and \(officer.id)",
                    hint: "every officer has an id and a key of his own, else one person could sign for two")
            }
        }
        self.officers = officers
    }

    package init(json: [UInt8]) throws(DiagnosedError) {
        let limits = JSONDocument.Limits(maximumDepth: 8, maximumNodes: 10_000, maximumBytes: Self.maximumBytes)
        do {
            let root = PolicyPlace(root: try JSONDocument(json, limits: limits).root)
            var officers: [Officer] = []
            for place in try root.object(["officers"]).required("officers").list(upTo: Self.maximumOfficers) {
                officers.append(try Self.officer(place))
            }
            try self.init(officers)
        } catch {
            guard error.code != .officersMalformed else { throw error }
            throw .policy(
                .officersMalformed, "the file of officers can not be used: \(error.summary)", expected: error.expected,
                found: error.found, hint: error.hint ?? "hdsctl officer create prints what to enter")
        }
    }

    /// The officer who has the key that a header names.
    package subscript(kid: String) -> Officer? { officers.first { $0.kid == kid } }

    package func json() -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.name("officers")
        json.beginArray()
        for officer in officers { officer.write(to: &json) }
        json.endArray()
        json.endObject()
        return json.bytes()
    }

    private static func officer(_ place: PolicyPlace) throws(DiagnosedError) -> Officer {
        let members = try place.object(["id", "name", "duties", "key"])
        var duties: Set<Officer.Duty> = []
        for place in try members.required("duties").list(upTo: 10) {
            guard let duty = Officer.Duty(rawValue: try place.text()) else {
                throw place.refusal(
                    "there is no such duty", expected: Officer.Duty.allCases.map(\.rawValue).joined(separator: ", "))
            }
            duties.insert(duty)
        }
        let key = try members.required("key")
        let officer: Officer
        let kid: String?
        do {
            let jwk = try JWK(key.node)
            kid = jwk.kid
            officer = try Officer(
                id: members.required("id").name(), name: members.required("name").text(),
                publicKey: jwk.publicKey(), duties: duties)
        } catch let error as DiagnosedError {
            throw key.refusal(error.summary, expected: error.expected, found: error.found)
        } catch {
            throw key.refusal("the key can not be read")
        }
        guard kid == officer.kid else {
            throw key.refusal(
                "its 'kid' is not its thumbprint", expected: officer.kid, found: kid?.quotedForError ?? "no kid",
                hint: "enter the key as hdsctl officer create printed it")
        }
        return officer
    }
}
