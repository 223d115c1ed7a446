import KMSProtocol
import KeyManagement
import Testing
import WireText

/// Lines of section 8 of the protocol that `OperationTests` has no test for.
@Suite("Operations, further rows")
struct OperationRowTests {
    @Test("[8 delete <kro>/authorizations] takes ids from userIds and authIds, once each, all or none of them")
    func bulkRemoval() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let space = try await alice.createSpace([], with: [People.bob, People.carol, People.dan])
        let refused = try await alice.ask("delete", space.uri + "/authorizations") {
            $0.member("userIds", [People.bob])
            $0.member("authIds", ["00000000-0000-4000-8000-00000000000f"])
        }
        #expect(refused.status == 404)
        let answer = try await alice.ask("delete", space.uri + "/authorizations") {
            $0.member("userIds", [People.bob, People.carol])
            $0.member("authIds", [People.carol, People.bob])
        }
        guard case .removed(let gone) = answer.body,
            case .authorizations(let left) = try await alice.ask("retrieve", space.uri + "/authorizations").body
        else {
            Issue.record("nothing was removed")
            return
        }
        #expect(answer.status == 200)
        #expect(gone.map(\.authID) == [People.bob, People.carol])
        #expect(left.map(\.authID) == [People.alice, People.dan])
    }

    @Test("[8 leaving a space] delete by authId, then a new key: who left reads neither, who stayed reads both")
    func leaving() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        let keys = try await alice.createKeys(2)
        let space = try await alice.createSpace([keys[0]], with: [People.bob])
        #expect(try await bob.remove(People.bob, from: space.uri).status == 200, "oneself")
        #expect(try await alice.ask("update", keys[1].uri) { $0.member("resourceUri", space.uri) }.status == 200)
        for key in keys {
            #expect(try await bob.status(retrieving: key.uri) == 403)
            #expect(try await alice.status(retrieving: key.uri) == 200)
        }
    }

    @Test("[8 no export] no request gives keys but those of one resource, or the one that is named")
    func noExport() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        _ = try await alice.createSpace(alice.createKeys(2))
        for uri in ["/keys", "/resources", "/authorizations", "/ecdhe"] {
            #expect(try await alice.status(retrieving: uri) == 405, "\(uri)")
        }
        for uri in ["/keys/*", "/keys?all=true&", "/export", "/escrow", "/keys/all", "/resources/keys"] {
            let answer = try await alice.ask("retrieve", uri)
            #expect([404, 405].contains(answer.status), "\(uri)")
            guard case .none = answer.body else {
                Issue.record("\(uri) gave something")
                return
            }
        }
    }

    @Test(
        """
        [8 retrieve /publicKey] [8 create /cmk] [8 create /awsKmsCmk] [8 retrieve /cmk or /awsKmsCmk] \
        [8 update <cmk uri>] [8 update default] [8 delete /cmk or /awsKmsCmk] [8 master keys of the draft] \
        are not offered: 501, and never the 405 that means a revoked key
        """)
    func masterKeys() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let one = "00000000-0000-4000-8000-000000000000"
        for (method, uri) in [
            ("retrieve", "/publicKey"), ("create", "/cmk"), ("create", "/awsKmsCmk"), ("retrieve", "/cmk"),
            ("retrieve", "/awsKmsCmk"), ("update", "/cmk/\(one)"), ("update", "/awsKmsCmk/\(one)"),
            ("update", "default"), ("delete", "/cmk"), ("delete", "/awsKmsCmk"), ("create", "/kek"),
            ("retrieve", "/kek"), ("update", "kms://kms.hds.example.com/kek/\(one)"),
        ] {
            let answer = try await alice.ask(method, uri) {
                $0.member("customerMasterKey", "AAAA")
                $0.member("keyState", "ACTIVE")
                $0.member("assignedOrgId", one)
            }
            #expect(answer.status == (uri == "default" ? 400 : 501), "\(method) \(uri)")
            #expect(answer.errorCode == nil, "\(method) \(uri)")
        }
        #expect(try await alice.ask("retrieve", "/cmk/\(one)/more/of/it").status == 404)
    }
}
