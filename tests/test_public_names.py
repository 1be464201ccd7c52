import fieldlevel


def test_every_public_name_is_there():
    assert sorted(fieldlevel._PUBLIC) == sorted(fieldlevel.__all__)
    for name in fieldlevel.__all__:
        assert getattr(fieldlevel, name).__name__ == name
        assert name in dir(fieldlevel)
