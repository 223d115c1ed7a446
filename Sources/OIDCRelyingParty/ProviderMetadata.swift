import Cryptography
import Diagnostics
import WireText

/// What a provider says of itself (OpenID Connect Discovery 1.0, section 3), as far as a relying party needs it.
///
/// Rules:
/// 1. `issuer` is the configured one, to the octet.
/// 2. Every endpoint is `https`, or plain on this machine when the issuer is.
/// 3. Response type `code` and one signature algorithm of ours are offered.
struct ProviderMetadata: Sendable, Equatable {
    let authorizationEndpoint: String
    let tokenEndpoint: String
    let keySetAddress: String
    let userInfoEndpoint: String?
    let endSessionEndpoint: String?
    let clientAuthentication: ClientAuthentication
    /// Answers carry `iss` (RFC 9207).
    let answersNameIssuer: Bool

    enum ClientAuthentication: String, Sendable {
        case basic = "client_secret_basic"
        case post = "client_secret_post"
    }

    /// Asymmetric only: what is signed with the client secret (HS256) or not at all is never an ID token here.
    static let algorithms: Set<SignatureAlgorithm> = [.rs256, .ps256, .es256]
    private static let limits = JSONDocument.Limits(maximumDepth: 8, maximumNodes: 4000, maximumBytes: 256 << 10)

    init(json: [UInt8], issuer: String) throws(DiagnosedError) {
        let root: JSONNode
        do { root = try JSONDocument(json, limits: Self.limits).root } catch {
            throw Self.refusal("the metadata are not valid JSON", expected: nil, found: error.summary)
        }
        guard let named = root["issuer"]?.string, named.utf8.elementsEqual(issuer.utf8) else {
            throw Self.refusal(
                "the metadata are of another issuer", expected: issuer,
                found: root["issuer"]?.string?.quotedForError ?? "no 'issuer'",
                hint: "write `issuer` exactly as the provider writes it, with or without a slash at the end")
        }
        func endpoint(_ name: String) throws(DiagnosedError) -> String? {
            guard let node = root[name] else { return nil }
            guard let text = node.string, OIDCSettings.isEndpoint(text, of: issuer) else {
                throw Self.refusal("'\(name)' can not be used", expected: "an https:// address", found: nil)
            }
            return text
        }
        func needed(_ name: String) throws(DiagnosedError) -> String {
            guard let text = try endpoint(name) else {
                throw Self.refusal("the metadata have no '\(name)'", expected: nil, found: nil)
            }
            return text
        }
        authorizationEndpoint = try needed("authorization_endpoint")
        tokenEndpoint = try needed("token_endpoint")
        keySetAddress = try needed("jwks_uri")
        userInfoEndpoint = try endpoint("userinfo_endpoint")
        endSessionEndpoint = try endpoint("end_session_endpoint")
        if let types = root["response_types_supported"]?.strings, !types.contains("code") {
            throw Self.refusal("the provider has no code flow", expected: "response type code", found: nil)
        }
        if let offered = root["id_token_signing_alg_values_supported"]?.strings,
            !offered.contains(where: { name in Self.algorithms.contains { $0.rawValue == name } })
        {
            throw Self.refusal(
                "the provider signs ID tokens with no algorithm of ours",
                expected: Self.algorithms.map(\.rawValue).sorted().joined(separator: " or "), found: nil)
        }
        let methods = root["token_endpoint_auth_methods_supported"]?.strings ?? ["client_secret_basic"]
        clientAuthentication =
            !methods.contains("client_secret_basic") && methods.contains("client_secret_post") ? .post : .basic
        answersNameIssuer = root["authorization_response_iss_parameter_supported"]?.boolean ?? false
    }

    private static func refusal(
        _ summary: String, expected: String?, found: String?, hint: String? = nil
    ) -> DiagnosedError {
        DiagnosedError(.oidcMetadata, fault: .peer, summary, expected: expected, found: found, hint: hint)
    }
}
