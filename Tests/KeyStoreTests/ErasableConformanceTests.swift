import KeyStore
import Testing

/// A resource's erasable key comes with its keys in one view, is there once, and goes with the resource.
struct ErasableConformanceTests {
    @Test(
        "it is put in once, read with each of its resource's keys, and erased with them", arguments: StoreKind.allCases)
    func life(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            let row = ErasableKeyRecord(resource: Sample.id(50), sealed: [7, 8])
            #expect(try await store.commit(StoreChange(writes: [.insertErasableKey(row)])) == .conflict, "no resource")
            try await store.apply(
                .insertResource(Sample.resource(50)), .insertResource(Sample.resource(51)), .insertKey(Sample.key(1)),
                .insertKey(Sample.key(2, resource: 50, boundAt: 1)), .insertKey(Sample.key(3, resource: 51, boundAt: 1))
            )
            #expect(try await store.key(Sample.id(2))?.erasable == nil)
            try await store.apply(.insertErasableKey(row))
            #expect(try await store.commit(StoreChange(writes: [.insertErasableKey(row)])) == .conflict, "a second one")
            #expect(try await store.erasableKey(ofResource: Sample.id(50)) == [7, 8])
            #expect(try await store.erasableKey(ofResource: Sample.id(51)) == nil)
            #expect(try await store.erasableKey(ofResource: "none") == nil)
            #expect(try await store.key(Sample.id(1))?.erasable == nil)
            #expect(try await store.key(Sample.id(3))?.erasable == nil)
            #expect(try await store.key(Sample.id(2))?.erasable == [7, 8])
            let found = try await store.key(Sample.id(2)) { _ in Sample.lookup(1) }
            #expect(found?.key.erasable == [7, 8])
            #expect(try await store.keys(ofResource: Sample.id(50)).map(\.erasable) == [[7, 8]])
            #expect(try await store.keys(ofResource: Sample.id(50), behind: nil, limit: 5).map(\.erasable) == [[7, 8]])
            var gone = Sample.resource(50, version: 2)
            gone.deletedAt = Sample.time(1)
            try await store.apply(.updateResource(gone))
            try await store.apply(.eraseResource(id: Sample.id(50), version: 2))
            #expect(try await store.erasableKey(ofResource: Sample.id(50)) == nil)
            #expect(try await store.key(Sample.id(2)) == nil)
        }
    }
}
