import KMSClient
import KMSProtocol
import SecretMemory
import Testing
import WireText

/// What an answer has to speak of.
@Suite("Answers against what was asked")
struct OperationTests {
    static let names = KMSNames(host: TestPKI.host)
    let now = Timestamp.now()
    let key = names.key(UUIDText.random())
    let other = names.key(UUIDText.random())
    let resource = names.resource(UUIDText.random())
    let otherResource = names.resource(UUIDText.random())
    let user = UUIDText.random()

    private func key(_ uri: String, _ resource: String? = nil) -> KMSKey {
        KMSKey(
            uri: uri, key: SymmetricKey(copying: [UInt8](repeating: 7, count: 32)), userID: user, clientID: "c",
            createDate: now, expirationDate: now.adding(seconds: 100), resourceURI: resource,
            bindDate: resource == nil ? nil : now)
    }

    private func authorization(_ id: String, _ resource: String) -> KMSAuthorization {
        KMSAuthorization(uri: Self.names.authorization(UUIDText.random()), authID: id, resourceURI: resource)
    }

    private func fits(_ operation: KMSOperation, _ body: KMSAnswer.Body, status: Int = 200) throws -> Bool {
        let clock = TestClock()
        let request = try TestKMS(clock: clock).openSession().wrap(operation, as: TestKMS.credential(), at: clock.now)
        var answer = KMSAnswer(status: status, requestID: request.id)
        answer.body = body
        return code { try request.check(answer, host: TestPKI.host) } == nil
    }

    @Test("A key is the one that was asked for")
    func retrieveKey() throws {
        #expect(try fits(.retrieveKey(key), .key(key(key, resource))))
        #expect(try !fits(.retrieveKey(key), .key(key(other, resource))))
        #expect(try !fits(.retrieveKey(key), .keys([key(key, resource)])))
        #expect(try !fits(.retrieveKey(key), .none))
    }

    @Test("A bound key is bound to the resource that was named")
    func bindKey() throws {
        #expect(try fits(.bindKey(key, resource: resource), .key(key(key, resource))))
        #expect(try !fits(.bindKey(key, resource: resource), .key(key(key, otherResource))))
        #expect(try !fits(.bindKey(key, resource: resource), .key(key(other, resource))))
        #expect(try !fits(.bindKey(key, resource: resource), .key(key(key))))
    }

    @Test("New keys are as many as asked for, of this KMS, all different and unbound")
    func createKeys() throws {
        #expect(try fits(.createKeys(count: 2), .keys([key(key), key(other)]), status: 201))
        #expect(try !fits(.createKeys(count: 2), .keys([key(key)])))
        #expect(try !fits(.createKeys(count: 2), .keys([key(key), key(key)])))
        #expect(try !fits(.createKeys(count: 1), .keys([key(key, resource)])))
        #expect(try !fits(.createKeys(count: 1), .keys([key("kms://other.example.com/keys/\(UUIDText.random())")])))
        #expect(try !fits(.createKeys(count: 1), .keys([key(resource)])))
    }

    @Test("Keys of a resource belong to it")
    func retrieveKeys() throws {
        #expect(try fits(.retrieveKeys(resource: resource), .keys([key(key, resource), key(other, resource)])))
        #expect(try fits(.retrieveKeys(resource: resource), .keys([])))
        #expect(try !fits(.retrieveKeys(resource: resource), .keys([key(key, otherResource)])))
        #expect(
            try !fits(.retrieveKeys(resource: resource, count: 1), .keys([key(key, resource), key(other, resource)])))
    }

    @Test("A new resource has the keys that were given, a read one is the one asked for")
    func resources() throws {
        let made = KMSResource(uri: resource, keyURIs: [key], authorizationURIs: [])
        #expect(try fits(.createResource(keys: [key], users: []), .resource(made), status: 201))
        #expect(try !fits(.createResource(keys: [other], users: []), .resource(made)))
        #expect(try fits(.retrieveResource(resource), .resource(made)))
        #expect(try !fits(.retrieveResource(otherResource), .resource(made)))
    }

    @Test("Authorizations are of the resource and the people who were named")
    func authorizations() throws {
        let bob = UUIDText.random()
        let right = [authorization(user, resource)]
        #expect(try fits(.createAuthorizations(resource: resource, ids: [user]), .authorizations(right), status: 201))
        #expect(try !fits(.createAuthorizations(resource: resource, ids: [bob]), .authorizations(right)))
        #expect(try !fits(.createAuthorizations(resource: otherResource, ids: [user]), .authorizations(right)))
        #expect(try fits(.deleteAuthorization(resource: resource, id: user), .removed(right)))
        #expect(try fits(.deleteAuthorization(resource: resource, id: user.uppercased()), .authorizations(right)))
        #expect(try !fits(.deleteAuthorization(resource: resource, id: bob), .removed(right)))
        #expect(try !fits(.deleteAuthorization(resource: resource, id: user), .removed([])))
        #expect(try !fits(.deleteAuthorization(resource: resource, id: user), .none))
        #expect(try fits(.retrieveAuthorizations(resource: resource), .authorizations(right)))
        #expect(try !fits(.retrieveAuthorizations(resource: resource, id: bob), .authorizations(right)))
        #expect(try !fits(.retrieveAuthorizations(resource: otherResource), .authorizations(right)))
    }

    @Test("A refusal fits whatever it speaks of")
    func refusal() throws { #expect(try fits(.retrieveKey(key), .none, status: 403)) }

    @Test("Identifiers stand percent-encoded in the query")
    func query() {
        let operation = KMSOperation.deleteAuthorization(resource: resource, id: "kms://a/resources/b?c&d")
        #expect(operation.uri == resource + "/authorizations?authId=kms%3A%2F%2Fa%2Fresources%2Fb%3Fc%26d")
        #expect(KMSURI(operation.uri)?.authID == "kms://a/resources/b?c&d")
    }

    @Test("Reads and pings are not mutating, all else is")
    func mutating() {
        let reads: [KMSOperation] = [
            .ping, .retrieveKey(key), .retrieveKeys(resource: resource), .retrieveResource(resource),
            .retrieveAuthorizations(resource: resource),
        ]
        let changes: [KMSOperation] = [
            .createKeys(count: 1), .bindKey(key, resource: resource), .createResource(keys: [], users: []),
            .deleteResource(resource), .createAuthorizations(resource: resource, ids: [user]),
            .deleteAuthorization(resource: resource, id: user), .deleteSession("s"),
        ]
        #expect(reads.allSatisfy { !$0.isMutating })
        #expect(changes.allSatisfy { $0.isMutating })
    }
}
