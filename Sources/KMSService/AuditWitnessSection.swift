import AuditTrail
import Cryptography
import Diagnostics
import HTTPClient
import JOSESignature
package import ServiceRuntime
import TLSChannel

/// One entry of `audit.witnesses`: a path, which is a file of heads, or a time-stamping authority.
package enum AuditWitnessSection: Decodable, Sendable {
    case file(FileLocation)
    case timeStamp(TimeStampSection)

    /// Where its heads stand, to be held against the trail at the start.
    var file: FileLocation {
        switch self {
        case .file(let file): file
        case .timeStamp(let section): section.file
        }
    }

    package init(from decoder: any Decoder) throws {
        if let file = try? decoder.singleValueContainer().decode(FileLocation.self) {
            self = .file(file)
        } else {
            self = .timeStamp(try TimeStampSection(from: decoder))
        }
    }

    func witness(_ route: WebRoute) throws -> any AuditWitness {
        switch self {
        case .file(let file): FileWitness(file.path)
        case .timeStamp(let section): try section.witness(route)
        }
    }
}

/// A time-stamping authority (RFC 3161) and where what it says is kept.
package struct TimeStampSection: Decodable, Sendable {
    package enum Kind: String, NamedValue, Sendable { case timestamp }

    /// One line for each head, with the stamp over it.
    package let file: FileLocation
    package let url: WebAddress
    /// PEM: the roots by which its stamps are believed.
    package let authorities: FileLocation
    /// PEM: the roots of its `https` address; nil: the same.
    package let tlsAuthorities: FileLocation?
    /// The policy that stamps must be under, in dotted numbers.
    package let policy: String?

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case kind, file, url
        case authorities = "ca"
        case tlsAuthorities = "tls-ca"
        case policy
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        let _: Kind = try section.value(.kind)
        file = try section.value(.file)
        url = try section.value(.url)
        authorities = try section.value(.authorities)
        tlsAuthorities = try section.optional(.tlsAuthorities)
        policy = try section.optional(.policy)
        guard url.scheme == .https || url.scheme == .http else {
            throw section.problem(.url, "expected an https:// or http:// address")
        }
        if let policy {
            guard (try? TimeStampRequest(digest: [UInt8](repeating: 0, count: 32), policy: policy)) != nil else {
                throw section.problem(.policy, "expected an object identifier, such as 1.3.6.1.4.1.13762.3")
            }
        }
    }

    func witness(_ route: WebRoute) throws -> TimeStampWitness {
        let trust = try Certificate.all(inPEM: (tlsAuthorities ?? authorities).text(upTo: 1 << 20))
        return TimeStampWitness(
            "time stamps of \(url.text)", file: file.path,
            roots: try Certificate.all(inPEM: authorities.text(upTo: 1 << 20)), policy: policy,
            ask: TimeAuthority(client: WebClient(trust: TLSTrust(roots: trust), route: route), url: url.text).stamp)
    }
}

/// The way to a time-stamping authority (RFC 3161, section 3.4).
///
/// Plain `http` is allowed, as most authorities have it: what is sent is a digest, and what comes is signed.
struct TimeAuthority: Sendable {
    let client: WebClient
    let url: String

    @Sendable func stamp(_ request: [UInt8]) async throws -> [UInt8] {
        var message = WebRequest(
            method: "POST", url: url,
            headers: [("Content-Type", "application/timestamp-query"), ("Accept", "application/timestamp-reply")],
            body: request, timeout: .seconds(20), maximumResponseBytes: TimeStampToken.maximumBytes)
        message.mayBePlain = true
        let response = try await client.send(message)
        let type = response.header("content-type")?.prefix { $0 != ";" }.lowercased()
        guard response.status == 200, type == "application/timestamp-reply" else {
            throw DiagnosedError(
                .timeStampRefused, fault: .peer, "the time-stamping authority does not answer as one",
                expected: "status 200 with application/timestamp-reply",
                found: "status \(response.status) with \(type?.prefix(80).description.quotedForError ?? "no type")",
                hint: "check the address of the witness in audit.witnesses")
        }
        return response.body
    }
}
