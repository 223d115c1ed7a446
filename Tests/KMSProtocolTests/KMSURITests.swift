import KMSProtocol
import Testing

@Suite("KMS URIs")
struct KMSURITests {
    private let id = "5b1e0000-0000-4000-8000-000000000001"

    @Test("objects are read from absolute URIs and from paths")
    func objects() {
        let table: [(String, KMSURI.Object)] = [
            ("kms://h.example", .cluster), ("/ecdhe", .sessions), ("/ecdhe/\(id)", .session(id)), ("/keys", .keys),
            ("/keys/\(id)", .key(id)), ("/resources", .resources), ("/resources/\(id)", .resource(id)),
            ("/resources/\(id)/keys", .resourceKeys(id)),
            ("/resources/\(id)/authorizations", .resourceAuthorizations(id)),
            ("/authorizations", .authorizations), ("/authorizations/\(id)", .authorization(id)), ("/ping", .ping),
            ("/statickeys/12345", .staticKey("12345")),
        ]
        for (text, object) in table {
            #expect(KMSURI(text)?.object == object, "\(text)")
            if text.hasPrefix("/") {
                #expect(KMSURI("kms://KMS.Example.com\(text)")?.object == object)
                #expect(KMSURI("KMS://KMS.Example.com\(text)")?.host == "kms.example.com")
                #expect(KMSURI(text)?.host == nil)
            }
        }
    }

    @Test("the query is read in both orders, percent-encoded or not")
    func queries() {
        let kro = "kms://h.example/resources/\(id)"
        for query in [
            "?authId=\(KMSURI.percentEncoded(kro))&responseDetails=false",
            "?responseDetails=false&authId=\(KMSURI.percentEncoded(kro))", "?responseDetails=false&authId=\(kro)",
        ] {
            let uri = KMSURI("/resources/\(id)/authorizations\(query)")
            #expect(uri?.authID == kro)
            #expect(uri?.wantsDetails == false)
            #expect(uri?.object == .resourceAuthorizations(id))
        }
        #expect(KMSURI("/resources/\(id)/authorizations?authId=%2Fpublic")?.authID == "/public")
        #expect(KMSURI("/resources/\(id)/authorizations")?.authID == nil)
        #expect(KMSURI("/resources/\(id)/authorizations?responseDetails=true")?.wantsDetails == true)
    }

    @Test("what is neither a kms URI nor a path is none; paths that name nothing stay nothing")
    func malformed() {
        for text in [
            "", "keys", "http://h/keys", "kms:", "kms://", "kms:///keys", "kms://user@h/keys", "/keys\u{0}",
            "/keys \u{7F}", "/é",
            "/resources/\(id)/authorizations?authId=%", "/resources/\(id)/authorizations?authId=%zz",
            "/" + String(repeating: "x", count: 4000), "/resources/\(id)/authorizations?authId=%ff",
        ] {
            #expect(KMSURI(text) == nil, "\(text.prefix(40))")
        }
        for text in ["/", "//", "/keys/", "/keys/../ping", "/keys/abc", "/nothing", "/keys/\(id)/x", "/Keys"] {
            guard case .other = KMSURI(text)?.object else {
                Issue.record("\(text) names something")
                continue
            }
        }
    }

    @Test("names are absolute and lower case")
    func names() {
        let names = KMSNames(host: "KMS.Example.com")
        #expect(names.key(id) == "kms://kms.example.com/keys/\(id)")
        #expect(names.staticKey(serialNumber: "7") == "kms://kms.example.com/statickeys/7")
        #expect(
            names.owns(.init(host: "kms.EXAMPLE.com", object: .ping)) && names.owns(.init(host: nil, object: .ping)))
        #expect(!names.owns(.init(host: "other.example.com", object: .ping)))
    }
}
