import WireText

/// The public documents of the service: what clients, the KMS and the core read to find their way.
enum Documents {
    /// RFC 8414, section 2, with the member of RFC 9207.
    static func metadata(_ settings: IssuerSettings, scopes: [String]) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("issuer", settings.issuer)
        json.member("authorization_endpoint", settings.issuer + "/authorize")
        json.member("token_endpoint", settings.issuer + "/token")
        json.member("revocation_endpoint", settings.issuer + "/revoke")
        json.member("introspection_endpoint", settings.issuer + "/introspect")
        // Of this project: where a client says that it has erased what it kept, and the signed list of what was revoked.
        json.member("wiped_endpoint", settings.issuer + "/wiped")
        json.member("revocation_list_uri", settings.issuer + "/revocations")
        json.member("jwks_uri", settings.issuer + "/jwks.json")
        json.member("scopes_supported", scopes)
        json.member("response_types_supported", ["code"])
        json.member("response_modes_supported", ["query"])
        json.member(
            "grant_types_supported",
            ["authorization_code", "refresh_token", "client_credentials", AuthorizationService.tokenExchange])
        json.member("token_endpoint_auth_methods_supported", ["none", "client_secret_basic"])
        json.member("revocation_endpoint_auth_methods_supported", ["none", "client_secret_basic"])
        json.member("introspection_endpoint_auth_methods_supported", ["client_secret_basic"])
        json.member("code_challenge_methods_supported", [ProofKey.method])
        json.member("authorization_response_iss_parameter_supported", true)
        json.member("ui_locales_supported", ["en"])
        json.endObject()
        return json.bytes()
    }

    /// Where everything of the customer's domain is: the first thing a client reads, and what it pins.
    static func domain(_ settings: IssuerSettings) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("domain", settings.domain)
        json.member("issuer", settings.issuer)
        json.member("kmsCluster", settings.kmsCluster)
        json.member("kmsRoots", settings.kmsRoots)
        json.member("core", settings.core)
        json.endObject()
        return json.bytes()
    }

    /// RFC 6749, section 5.2.
    static func error(_ error: OAuthError) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("error", error.code.rawValue)
        json.member("error_description", error.description)
        if error.ordersWipe { json.member("wipe", true) }
        json.endObject()
        return json.bytes()
    }
}
